"""Routes of tasks."""

from typing import Annotated

import httpx
from fastapi import Depends, Request, Response

from taskapi.auth.dependencies import CurrentUser, auth_tools
from taskapi.conditional import ETAG_HEADER, IF_MATCH, IF_NONE_MATCH, NOT_MODIFIED, ExpectedVersions, etag, tag
from taskapi.problems import responses
from taskapi.routing import router as strict_router
from taskapi.tasks import links, service, trash
from taskapi.tasks.links import LinkRead
from taskapi.tasks.schemas import TaskCreate, TaskRead, TaskSummary, TaskUpdate

router = strict_router(prefix="/tasks", tags=["tasks"])

READ = responses(401, 404)
WRITE = {200: {"headers": ETAG_HEADER}, **responses(400, 401, 404, 412, 413, 415, 422, 428)}


async def page_client(request: Request) -> httpx.AsyncClient:
    """The application's client for pages behind links."""
    client: httpx.AsyncClient = request.app.state.pages
    return client


@router.post("", status_code=201, responses={201: {"headers": ETAG_HEADER}, **responses(400, 401, 413, 415, 422)})
async def create_task(data: TaskCreate, user: CurrentUser, request: Request, response: Response) -> TaskRead:
    """Make a task."""
    task = await service.create(user, data, auth_tools(request).accounts.get)
    response.headers["Location"] = f"{request.scope.get('root_path', '')}/tasks/{task.id}"
    response.headers["ETag"] = etag(task.version)
    return task


@router.get("/{task_id}", responses={200: {"headers": ETAG_HEADER}, **NOT_MODIFIED, **READ}, openapi_extra=IF_NONE_MATCH)
async def read_task(task_id: str, user: CurrentUser, request: Request, response: Response) -> TaskRead:
    """One task."""
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


@router.patch("/{task_id}", responses=WRITE, openapi_extra=IF_MATCH)
async def update_task(
    task_id: str, data: TaskUpdate, user: CurrentUser, versions: ExpectedVersions, response: Response
) -> TaskRead:
    """Change a task: only the fields you send. With `If-Match`, only the version you know."""
    task = await service.change(user, task_id, data, versions)
    response.headers["ETag"] = etag(task.version)
    return task


@router.put("/{task_id}", responses=WRITE, openapi_extra=IF_MATCH)
async def put_task(task_id: str, data: TaskUpdate, user: CurrentUser, versions: ExpectedVersions, response: Response) -> TaskRead:
    """Change a task: only the fields you send, exactly as PATCH does."""
    return await update_task(task_id, data, user, versions, response)


@router.delete(
    "/{task_id}", status_code=204, response_class=Response, responses=responses(401, 404, 412, 428), openapi_extra=IF_MATCH
)
async def delete_task(task_id: str, user: CurrentUser, versions: ExpectedVersions, request: Request) -> None:
    """Move a task to the trash, from which it can be restored. With `If-Match`, only the version you know."""
    await trash.put(user, task_id, versions, request.app.state.settings.trash_days)
