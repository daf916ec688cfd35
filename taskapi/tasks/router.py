"""Routes of tasks."""

from typing import Annotated

import httpx
from fastapi import Depends, Request, Response

from taskapi.auth.dependencies import CurrentUser
from taskapi.problems import responses
from taskapi.routing import parameters, query_reader
from taskapi.routing import router as strict_router
from taskapi.tasks import links, service
from taskapi.tasks.links import LinkRead
from taskapi.tasks.query import TaskQuery
from taskapi.tasks.schemas import TaskCreate, TaskRead, TaskSummary, TaskUpdate

router = strict_router(prefix="/tasks", tags=["tasks"])

READ = responses(401, 404)
WRITE = responses(400, 401, 404, 413, 415, 422)
LIST_HEADERS = {
    "X-Total-Count": {"description": "How many tasks match.", "schema": {"type": "integer"}},
    "Link": {"description": "The first, prev, next and last page (RFC 8288).", "schema": {"type": "string"}},
}


Wanted = Annotated[TaskQuery, Depends(query_reader(TaskQuery))]


async def page_client(request: Request) -> httpx.AsyncClient:
    """The application's client for pages behind links."""
    client: httpx.AsyncClient = request.app.state.pages
    return client


def here(request: Request) -> str:
    """The path as the caller sees it, also behind a proxy that strips a prefix."""
    return f"{request.scope.get('root_path', '')}/tasks"


@router.post("", status_code=201, responses=responses(400, 401, 413, 415, 422))
async def create_task(data: TaskCreate, user: CurrentUser, request: Request, response: Response) -> TaskRead:
    """Make a task."""
    task = await service.create(user, data)
    response.headers["Location"] = f"{here(request)}/{task.id}"
    return task


@router.get("", responses={200: {"headers": LIST_HEADERS}, **responses(401, 422)}, openapi_extra=parameters(TaskQuery))
async def list_tasks(query: Wanted, user: CurrentUser, request: Request, response: Response) -> list[TaskRead]:
    """Your tasks, newest first unless sorted. The total is in `X-Total-Count`, the other pages in `Link`."""
    page = await service.page(user, query)
    response.headers["X-Total-Count"] = str(page.total)
    response.headers["Link"] = query.links(here(request), page.total)
    return list(page.tasks)


@router.get("/{task_id}", responses=READ)
async def read_task(task_id: str, user: CurrentUser) -> TaskRead:
    """One task."""
    return await service.get(user, task_id)


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


@router.patch("/{task_id}", responses=WRITE)
async def update_task(task_id: str, data: TaskUpdate, user: CurrentUser) -> TaskRead:
    """Change a task: only the fields you send."""
    return await service.change(user, task_id, data)


@router.put("/{task_id}", responses=WRITE)
async def put_task(task_id: str, data: TaskUpdate, user: CurrentUser) -> TaskRead:
    """Change a task: only the fields you send, exactly as PATCH does."""
    return await service.change(user, task_id, data)


@router.delete("/{task_id}", status_code=204, response_class=Response, responses=READ)
async def delete_task(task_id: str, user: CurrentUser) -> None:
    """Delete a task."""
    await service.delete(user, task_id)
