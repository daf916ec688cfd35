"""Routes of lists of tasks."""

from functools import partial
from typing import Annotated, Any

from bson import ObjectId
from fastapi import Query, Request, Response

from taskapi.accounts.dependencies import PendingTaskReader, TaskReader
from taskapi.accounts.users.schemas import UserRead
from taskapi.core.errors import QueryTimeout
from taskapi.tasks.query.pages import FoundPage, TaskPage, TaskPages
from taskapi.tasks.query.projection import TaskPart
from taskapi.tasks.query.search import TaskQuery, TaskSearch
from taskapi.tasks.schemas import TaskRead
from taskapi.tasks.storage.scope import Scope
from taskapi.web import admission
from taskapi.web.conditional import IF_NONE_MATCH, NOT_MODIFIED, list_etag, validators
from taskapi.web.pagination import LIST_HEADERS
from taskapi.web.problems import responses
from taskapi.web.routing import JSON, path_to, strict_router
from taskapi.web.services import services_of

router = strict_router(prefix="/tasks", tags=["tasks"])

SEARCH_HEADERS: dict[str, Any] = {
    "ETag": {"description": "The entity tag of this page.", "schema": {"type": "string"}},
    "X-Total-Count": {"description": "The total number of tasks, if they are counted.", "schema": {"type": "integer"}},
    "X-Total-Count-Relation": {
        "description": "For an estimate: `eq` if exact, `gte` if there may be more.",
        "schema": {"type": "string", "enum": ["eq", "gte"]},
    },
    "X-Next-Cursor": {"description": "The `cursor` of the next page, if there is one.", "schema": {"type": "string"}},
}
PAGE_HEADERS = LIST_HEADERS | SEARCH_HEADERS

ANSWER: dict[str, Any] = {
    "response_model": list[TaskRead | TaskPart],
    "response_description": "A page of tasks, whole or in part.",
    "responses": responses(401, 403, 422, QueryTimeout, *admission.PROBLEMS),
}


@router.get(
    "",
    summary="List your tasks",
    **{**ANSWER, "responses": {200: {"headers": PAGE_HEADERS}, **ANSWER["responses"], **NOT_MODIFIED}},
    openapi_extra=IF_NONE_MATCH,
)
async def list_tasks(query: Annotated[TaskQuery, Query()], caller: PendingTaskReader, request: Request) -> Response:
    """Your tasks, newest first unless you sort them. `X-Total-Count` has the total, `Link` the other pages."""
    if query.is_expensive:
        user = await caller.settle()
        page = await _page(query, user, request)
    else:
        user, found = await caller.beside(partial(_find, query, request))
        page = await services_of(request)[TaskPages].render(found, user, query)
    path = path_to(request, router, "list_tasks")
    headers = validators(request, _etag(page, user)) | _headers(page)
    if link := query.link_header(path, None if page.is_lower_bound else page.total, page.cursor):
        headers["Link"] = link
    return Response(page.json(), headers=headers, media_type=JSON)


@router.post(
    "/search",
    summary="Search your tasks",
    **{**ANSWER, "responses": {200: {"headers": SEARCH_HEADERS}, **ANSWER["responses"], **responses(400, 413, 415)}},
)
async def search_tasks(query: TaskSearch, user: TaskReader, request: Request) -> Response:
    """The same as `GET /tasks`, for filters that are too long for a URL."""
    page = await _page(query, user, request)
    return Response(page.json(), headers={"ETag": _etag(page, user), **_headers(page)}, media_type=JSON)


async def _page(query: TaskSearch, user: UserRead, request: Request) -> TaskPage:
    work = admission.QUERIES if query.is_expensive else admission.LISTS
    pages = services_of(request)[TaskPages]
    async with admission.admit(work, request):
        return await pages.render(await pages.find(Scope.of(user), query), user, query)


async def _find(query: TaskSearch, request: Request, owner_id: ObjectId) -> FoundPage:
    admitted = admission.admit(admission.LISTS, request, str(owner_id))
    return await services_of(request)[TaskPages].find(Scope.of_id(owner_id), query, admitted)


def _etag(page: TaskPage, owner: UserRead) -> str:
    members = ((task.id, task.version) for task in page.tasks)
    return list_etag(members, f"{page.total} {page.is_lower_bound} {page.cursor is not None} {owner.username}")


def _headers(page: TaskPage) -> dict[str, str]:
    headers: dict[str, str] = {}
    if page.total is not None:
        headers["X-Total-Count"] = str(page.total)
    if page.is_estimate:
        headers["X-Total-Count-Relation"] = "gte" if page.is_lower_bound else "eq"
    if page.cursor is not None:
        headers["X-Next-Cursor"] = page.cursor
    return headers
