"""Routes that export and import tasks."""

import json
from typing import Annotated, Any

from fastapi import Query, Request, Response

from taskapi.accounts.dependencies import TaskReader, TaskWriter
from taskapi.core.errors import FieldError, InvalidInput, UnsupportedMediaType
from taskapi.tasks.errors import Contended, MalformedImport, TooManyLines
from taskapi.tasks.import_export.csv_reader import csv_records
from taskapi.tasks.import_export.export import ExportQuery, ExportService, Format
from taskapi.tasks.import_export.importer import ImportService
from taskapi.tasks.import_export.records import Records, json_array, json_lines
from taskapi.tasks.import_export.schemas import MAX_LINES, ImportQuery, ImportReport, TaskImport
from taskapi.tasks.schemas import READ_EXAMPLE, TASK_EXAMPLE
from taskapi.web import admission
from taskapi.web.json_schema import definitions
from taskapi.web.negotiation import negotiated
from taskapi.web.problems import responses
from taskapi.web.routing import ATTACHMENT, CSV, JSON, TYPED_CSV, media_parameter, media_type, strict_router
from taskapi.web.services import services_of
from taskapi.web.streaming import Streamed

router = strict_router(prefix="/tasks", tags=["export and import"])

JSON_LINES = "application/jsonl"
FORMATS = {JSON_LINES: Format.jsonl, CSV: Format.csv}
# No media type is registered for JSON Lines; these are in use.
NAMES = (JSON_LINES, "application/x-ndjson", "application/ndjson", "application/x-jsonlines", "application/json-lines")


def _json_lines(name: str, example: str) -> dict[str, Any]:
    """Text, with an extension for the schema of its lines, because OpenAPI 3.1 has no keyword for it."""
    schema = {"type": "string", "description": f"Text; each line is a JSON object: a `{name}`."}
    return {"schema": schema, "x-item-schema": {"$ref": f"#/components/schemas/{name}"}, "example": example}


EXPORTED = {
    JSON_LINES: _json_lines("TaskRead", json.dumps(READ_EXAMPLE) + "\n"),
    CSV: {"schema": {"type": "string"}, "example": ",".join(READ_EXAMPLE) + "\r\n"},
}
LINES = '{"key": "a-1", "title": "From another tool"}\n{"title": "Without a key", "status": "done"}\n'
TASKS = {"type": "array", "maxItems": MAX_LINES, "items": {"$ref": "#/components/schemas/TaskImport"}}
TAKEN = {
    JSON: {
        "schema": {**TASKS, **definitions(TaskImport)},
        "example": [TASK_EXAMPLE],
    },  # first, because tools choose it by default
    **dict.fromkeys(NAMES, _json_lines("TaskImport", LINES)),
    CSV: {"schema": {"type": "string"}, "example": 'title,due_date,tags\r\nFrom a spreadsheet,2027-01-31,"work, writing"\r\n'},
}
UTF_8 = (None, "utf-8", "utf8", "us-ascii")


@router.get(
    "/export",
    summary="Export your tasks",
    response_class=Response,
    response_description="Your tasks, as text.",
    responses={200: {"content": EXPORTED, "headers": ATTACHMENT}, **responses(401, 403, 422, *admission.PROBLEMS)},
)
@admission.limited(admission.EXPORTS)
async def export_tasks(query: Annotated[ExportQuery, Query()], user: TaskReader, request: Request) -> Response:
    """All your tasks that match, as of this moment, as JSON Lines or CSV. A body without its end was cut off.

    If reading takes longer than five minutes, the rest may be as of a later moment. Even then, no task appears twice, and none
    is missing that existed all the time; a task deleted meanwhile may be left out.
    """
    chosen = negotiated(request, tuple(name for name, kind in FORMATS.items() if query.format in (kind, None)))
    if query.bom and chosen != CSV:
        raise InvalidInput([FieldError("bom", "is only for CSV; also send format=csv", "csv_only")])
    headers = {
        "Content-Type": TYPED_CSV if chosen == CSV else chosen,
        "Content-Disposition": f'attachment; filename="tasks.{FORMATS[chosen]}"',
    }
    parts = services_of(request)[ExportService].parts(user, query, FORMATS[chosen])
    return await Streamed.begun(parts, headers)


@router.post(
    "/import",
    summary="Import tasks",
    response_description="How many tasks were created and changed, and the errors by line.",
    responses=responses(400, MalformedImport, 401, 403, 413, TooManyLines, 415, 422, Contended, *admission.PROBLEMS),
    openapi_extra={"requestBody": {"required": True, "content": TAKEN}},
)
@admission.limited(admission.IMPORTS)
async def import_tasks(query: Annotated[ImportQuery, Query()], user: TaskWriter, request: Request) -> ImportReport:
    """Create tasks from up to 100,000 JSON Lines, or change those whose `key` exists. An invalid line does not stop the others.

    You can also send a JSON array of tasks, up to the size of other JSON bodies, or CSV. The first line of CSV names the columns:
    fields of a task in any order, including `title`. Lists, `checklist` and `metadata` are JSON; `tags` may also be separated
    by commas, `links` by whitespace. An empty cell clears a field that can be empty, and is ignored otherwise.
    """
    return await services_of(request)[ImportService].run(user, await _records(request), query)


async def _records(request: Request) -> Records:
    kind = media_type(request)
    if kind == JSON:
        return json_array(await request.json(), len(await request.body()))
    if kind != CSV:
        return json_lines(request.stream())
    if media_parameter(request, "charset") not in UTF_8 or media_parameter(request, "header") == "absent":
        raise UnsupportedMediaType([TYPED_CSV])
    return csv_records(request.stream())
