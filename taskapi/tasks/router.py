"""Routes of tasks."""

from typing import Annotated

import httpx
from fastapi import Depends, Request, Response

from taskapi.auth.dependencies import CurrentUser, auth_tools
from taskapi.conditional import ETAG_HEADER, IF_MATCH, IF_NONE_MATCH, NOT_MODIFIED, ExpectedVersions, etag, list_etag, tag
from taskapi.paging import LIST_HEADERS
from taskapi.problems import responses
from taskapi.routing import JSON, media_type, parameters, read_json, read_query
from taskapi.routing import router as strict_router
from taskapi.tasks import links, past, patch, service, trash
from taskapi.tasks.links import LinkRead
from taskapi.tasks.past import PastQuery
from taskapi.tasks.patch import Patch
from taskapi.tasks.query import TaskQuery
from taskapi.tasks.schemas import TaskCreate, TaskRead, TaskSummary, TaskUpdate

router = strict_router(prefix="/tasks", tags=["tasks"])

READ = responses(401, 404)
CHANGED_FIELDS = {"schema": {"$ref": "#/components/schemas/TaskUpdate"}}
PATCHES = {
    JSON: CHANGED_FIELDS,
    "application/merge-patch+json": CHANGED_FIELDS,
    patch.MEDIA_TYPE: {"schema": patch.schema()},
}
WRITE = {200: {"headers": ETAG_HEADER}, **responses(400, 401, 404, 412, 413, 415, 422, 428)}


async def page_client(request: Request) -> httpx.AsyncClient:
    """The application's client for pages behind links."""
    client: httpx.AsyncClient = request.app.state.pages
    return client


def here(request: Request) -> str:
    """The path as the caller sees it, also behind a proxy that strips a prefix."""
    return f"{request.scope.get('root_path', '')}/tasks"


@router.post("", status_code=201, responses={201: {"headers": ETAG_HEADER}, **responses(400, 401, 413, 415, 422)})
async def create_task(data: TaskCreate, user: CurrentUser, request: Request, response: Response) -> TaskRead:
    """Make a task."""
    task = await service.create(user, data, auth_tools(request).accounts.get)
    response.headers["Location"] = f"{here(request)}/{task.id}"
    response.headers["ETag"] = etag(task.version)
    return task


@router.get(
    "",
    responses={200: {"headers": {**ETAG_HEADER, **LIST_HEADERS}}, **NOT_MODIFIED, **responses(401, 422)},
    openapi_extra={"parameters": [*parameters(TaskQuery), *IF_NONE_MATCH["parameters"]]},
)
async def list_tasks(user: CurrentUser, request: Request, response: Response) -> list[TaskRead]:
    """Your tasks, newest first unless sorted. The total is in `X-Total-Count`, the other pages in `Link`."""
    query = read_query(TaskQuery, request)
    page = await service.page(user, query)
    tag(request, response, list_etag(((task.id, task.version) for task in page.tasks), page.total))
    response.headers["X-Total-Count"] = str(page.total)
    response.headers["Link"] = query.links(here(request), page.total)
    return page.tasks


@router.get(
    "/{task_id}",
    responses={200: {"headers": ETAG_HEADER}, **NOT_MODIFIED, **READ, **responses(410, 422)},
    openapi_extra={"parameters": [*parameters(PastQuery), *IF_NONE_MATCH["parameters"]]},
)
async def read_task(task_id: str, user: CurrentUser, request: Request, response: Response) -> TaskRead:
    """One task: as it is, or as it was in an earlier version or at a time."""
    if request.scope["query_string"]:
        task = await past.read(user, task_id, read_query(PastQuery, request))
    else:
        task = await service.get(user, task_id)
    tag(request, response, etag(task.version))
    return task


@router.get("/{task_id}/summary", responses=READ)
async def read_task_summary(task_id: str, user: CurrentUser) -> TaskSummary:
    """One task in brief, with whether it is overdue and how old it is."""
    return await service.summary(user, task_id)


@router.get("/{task_id}/links", responses=READ)
async def read_task_links(
    task_id: str, user: CurrentUser, client: Annotated[httpx.AsyncClient, Depends(page_client)], request: Request
) -> list[LinkRead]:
    """Title, status and time of each page the task links to; a page that fails says how, and never fails the call."""
    task = await service.get(user, task_id)
    return await links.preview(task.links, client, request.app.state.settings.links_timeout_seconds)


@router.patch(
    "/{task_id}",
    responses={**WRITE, **responses(409)},
    openapi_extra={**IF_MATCH, "requestBody": {"content": PATCHES, "required": True}},
)
async def update_task(
    task_id: str, user: CurrentUser, versions: ExpectedVersions, request: Request, response: Response
) -> TaskRead:
    """Change a task: send the fields that change (RFC 7396), or a JSON Patch (RFC 6902).

    With `If-Match`, only the version you know changes.
    """
    if media_type(request) == patch.MEDIA_TYPE:
        operations = (await read_json(Patch, request)).root
        task = await service.patch(user, task_id, operations, versions)
    else:
        task = await service.change(user, task_id, await read_json(TaskUpdate, request), versions)
    response.headers["ETag"] = etag(task.version)
    return task


@router.put("/{task_id}", responses=WRITE, openapi_extra=IF_MATCH)
async def put_task(task_id: str, data: TaskUpdate, user: CurrentUser, versions: ExpectedVersions, response: Response) -> TaskRead:
    """Change a task: only the fields you send, exactly as PATCH does."""
    task = await service.change(user, task_id, data, versions)
    response.headers["ETag"] = etag(task.version)
    return task


@router.delete(
    "/{task_id}", status_code=204, response_class=Response, responses=responses(401, 404, 412, 428), openapi_extra=IF_MATCH
)
async def delete_task(task_id: str, user: CurrentUser, versions: ExpectedVersions, request: Request) -> None:
    """Move a task to the trash, from which it can be restored. With `If-Match`, only the version you know."""
    await trash.put(user, task_id, versions, request.app.state.settings.trash_days)
