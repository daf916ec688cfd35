"""Routes that get tasks out and in. They stand before those of one task: ``export`` and ``import`` are no ids."""

from typing import Any

from fastapi import Request, Response

from taskapi.auth.dependencies import CurrentUser, auth_tools
from taskapi.errors import UnsupportedMediaType
from taskapi.problems import responses
from taskapi.routing import media_type, parameters, read_query
from taskapi.routing import router as strict_router
from taskapi.streaming import Streamed, lines
from taskapi.tasks import export, importing
from taskapi.tasks.export import ExportQuery, Format
from taskapi.tasks.schemas import READ_EXAMPLE
from taskapi.tasks.transfer_schemas import ImportQuery, ImportReport, TaskImport

router = strict_router(prefix="/tasks", tags=["export and import"])

MEDIA_TYPES = {Format.jsonl: "application/jsonl", Format.csv: "text/csv; charset=utf-8; header=present"}
JSON_LINES = "application/jsonl"
# No name of JSON Lines is registered; these are in use.
NAMES = (JSON_LINES, "application/x-ndjson", "application/ndjson", "application/x-jsonlines", "application/json-lines")


def _schema(model: Any) -> dict[str, Any]:
    made: dict[str, Any] = model.model_json_schema(ref_template="#/components/schemas/{model}")
    made.pop("$defs", None)  # they are those of POST /tasks
    return made


EXPORTED = {
    JSON_LINES: {"schema": {"type": "string"}, "itemSchema": {"$ref": "#/components/schemas/TaskRead"}},
    "text/csv": {"schema": {"type": "string"}, "example": ",".join(READ_EXAMPLE) + "\r\n"},
}
TAKEN = {"schema": {"type": "string"}, "itemSchema": _schema(TaskImport)}


@router.get(
    "/export",
    response_class=Response,
    responses={200: {"content": EXPORTED}, **responses(401, 422)},
    openapi_extra={"parameters": parameters(ExportQuery)},
)
async def export_tasks(user: CurrentUser, request: Request) -> Response:
    """All your tasks that match, as they are at this moment, as JSON Lines or CSV; a body without its end was cut off."""
    query = read_query(ExportQuery, request)
    headers = {
        "Content-Type": MEDIA_TYPES[query.format],
        "Content-Disposition": f'attachment; filename="tasks.{query.format}"',
    }
    return await Streamed.begun(export.parts(user, query), headers)


@router.post(
    "/import",
    responses=responses(400, 401, 413, 415, 422),
    openapi_extra={
        "parameters": parameters(ImportQuery),
        "requestBody": {"required": True, "content": dict.fromkeys(NAMES, TAKEN)},
    },
)
async def import_tasks(user: CurrentUser, request: Request) -> ImportReport:
    """Make tasks of JSON Lines, at most 100,000, and change those whose `key` is known; a wrong line stops no other."""
    query = read_query(ImportQuery, request)
    if media_type(request) not in NAMES:
        raise UnsupportedMediaType(JSON_LINES)
    text = lines(request.stream(), importing.LONGEST_LINE)
    return await importing.run(user, text, auth_tools(request).accounts.get, dry_run=query.dry_run)
