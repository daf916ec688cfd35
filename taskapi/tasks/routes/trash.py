"""Routes of the trash."""

from typing import Annotated

from fastapi import Query, Request, Response

from taskapi.accounts.dependencies import TaskReader, TaskWriter
from taskapi.core.errors import QueryTimeout
from taskapi.db.connection import Session
from taskapi.tasks.errors import KeyTaken
from taskapi.tasks.query.search import MAX_CHEAP_START
from taskapi.tasks.routes.dependencies import TaskId, Trash
from taskapi.tasks.routes.responses import TaskResponse
from taskapi.tasks.schemas import TaskRead, TrashedTask
from taskapi.web import admission
from taskapi.web.conditional import ETAG_HEADER
from taskapi.web.idempotency.once import answer_once
from taskapi.web.pagination import LIST_HEADERS, PageQuery
from taskapi.web.problems import responses
from taskapi.web.routing import page_headers, path_to, strict_router

router = strict_router(tags=["trash"])


@router.get(
    "/trash",
    summary="List the trash",
    response_description="A page of deleted tasks.",
    responses={200: {"headers": LIST_HEADERS}, **responses(401, 403, 422, QueryTimeout, *admission.PROBLEMS)},
)
async def list_trash(
    query: Annotated[PageQuery, Query()], user: TaskReader, trash: Trash, request: Request, response: Response
) -> list[TrashedTask]:
    """Your deleted tasks, last deleted first."""
    work = admission.LISTS if query.start <= MAX_CHEAP_START else admission.QUERIES
    async with admission.admit(work, request):
        page = await trash.list_page(user, query)
    response.headers.update(page_headers(path_to(request, router, "list_trash"), query, page.total))
    return page.entries


@router.post(
    "/tasks/{task_id}/restore",
    summary="Restore a task",
    response_model=TaskRead,
    response_description="The task.",
    responses={200: {"headers": ETAG_HEADER}, **responses(401, 403, 404, KeyTaken)},
)
async def restore_task(task_id: TaskId, user: TaskWriter, trash: Trash, request: Request) -> Response:
    """Restore a task from the trash."""

    async def work(session: Session | None) -> TaskResponse:
        return TaskResponse(await trash.restore(user, task_id, session), user)

    return await answer_once(request, work)


@router.delete(
    "/trash/{task_id}",
    status_code=204,
    summary="Erase a task in the trash",
    response_class=Response,
    responses=responses(401, 403, 404),
)
async def remove_task(task_id: TaskId, user: TaskWriter, trash: Trash) -> None:
    """Erase a task in the trash. This cannot be undone."""
    await trash.purge(user, task_id)
