"""The responses of the statistics: JSON, or the same rows as CSV."""

from collections.abc import Sequence
from typing import Any

from fastapi import Request
from pydantic import BaseModel
from starlette.responses import Response

from taskapi.core.errors import QueryTimeout
from taskapi.stats.query import StatsFormat
from taskapi.tasks.import_export.csv_cells import write_cell
from taskapi.tasks.import_export.csv_writer import csv_record
from taskapi.web import admission
from taskapi.web.conditional import ETAG_HEADER, IF_NONE_MATCH, NOT_MODIFIED, content_etag, validators
from taskapi.web.negotiation import negotiated
from taskapi.web.problems import responses
from taskapi.web.routing import ATTACHMENT, CSV, JSON, TYPED_CSV

FORMATS = {JSON: StatsFormat.json, CSV: StatsFormat.csv}


def documented(row: type[BaseModel]) -> dict[str, Any]:
    """What a route documents whose CSV has rows of ``row``."""
    extra: Any = row.model_config["json_schema_extra"]
    example = extra["examples"][0]
    content = {CSV: {"schema": {"type": "string"}, "example": csv_record(example) + _record(example)}}
    problems = responses(401, 403, 422, QueryTimeout, *admission.PROBLEMS)
    return {
        "responses": {200: {"content": content, "headers": {**ETAG_HEADER, **ATTACHMENT}}, **NOT_MODIFIED, **problems},
        "openapi_extra": IF_NONE_MATCH,
    }


def respond(
    request: Request,
    wanted: StatsFormat | None,
    found: BaseModel | Sequence[BaseModel],
    rows: Sequence[BaseModel],
    row: type[BaseModel],
) -> Response:
    """``found`` as JSON, or ``rows`` of the class ``row`` as CSV: in the format ``wanted``, else as Accept prefers.

    Raises:
        NotAcceptable: Accept does not take the format.
        NotModified: the caller's copy is current.
    """
    chosen = negotiated(request, tuple(name for name, kind in FORMATS.items() if wanted in (kind, None)))
    if chosen == JSON:
        content = _json(found)
        return Response(content, headers=validators(request, content_etag(content)), media_type=JSON)
    content = "".join([csv_record(row.model_fields), *(_record(each.model_dump(mode="json")) for each in rows)]).encode()
    name = request.scope["path"].rpartition("/")[2]
    disposition = {"Content-Disposition": f'attachment; filename="{name}.csv"', "Content-Type": TYPED_CSV}
    return Response(content, headers={**validators(request, content_etag(content)), **disposition})


def _record(values: dict[str, Any]) -> str:
    return csv_record(map(write_cell, values.values()))


def _json(found: BaseModel | Sequence[BaseModel]) -> bytes:
    if isinstance(found, BaseModel):
        return found.model_dump_json().encode()
    return f"[{','.join(each.model_dump_json() for each in found)}]".encode()
