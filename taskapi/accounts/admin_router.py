"""Routes for admins to manage accounts."""

from typing import Annotated

from fastapi import Query, Request, Response

from taskapi.accounts.callers import authenticate_again
from taskapi.accounts.dependencies import Admin, Admins, Sessions
from taskapi.accounts.errors import LastAdmin
from taskapi.accounts.users.admin_schemas import AccountChange, UserForAdmin, UserQuery
from taskapi.audit.dependencies import CallerAuditLog
from taskapi.core.errors import QueryTimeout
from taskapi.core.fields import object_id
from taskapi.web.pagination import LIST_HEADERS
from taskapi.web.problems import responses
from taskapi.web.routing import page_headers, path_id, path_to, strict_router

router = strict_router(prefix="/users", tags=["admin"])

UserId = Annotated[str, path_id("The id of the account.")]


@router.get(
    "",
    summary="List the accounts",
    response_description="A page of accounts, sorted by name.",
    responses={200: {"headers": LIST_HEADERS}, **responses(401, 403, 422, QueryTimeout)},
)
async def list_users(
    query: Annotated[UserQuery, Query()], _: Admin, admins: Admins, request: Request, response: Response
) -> list[UserForAdmin]:
    """All accounts, sorted by name; for admins."""
    page = await admins.list_page(query)
    response.headers.update(page_headers(path_to(request, router, "list_users"), query, page.total))
    return page.entries


@router.get("/{user_id}", summary="Read an account", response_description="The account.", responses=responses(401, 403, 404))
async def read_user(user_id: UserId, _: Admin, admins: Admins) -> UserForAdmin:
    """One account; for admins."""
    return await admins.find(object_id(user_id))


@router.patch(
    "/{user_id}",
    summary="Change an account",
    response_description="The account after the change.",
    responses=responses(400, 401, 403, 404, LastAdmin, 413, 415, 422),
)
async def update_user(
    user_id: UserId, data: AccountChange, admin: Admin, admins: Admins, audit_log: CallerAuditLog, request: Request
) -> UserForAdmin:
    """Disable or enable an account, or change its role; for admins. The last active admin cannot be disabled or demoted."""
    await authenticate_again(request, "admin")
    return await admins.change(object_id(user_id), data, audit_log, by=admin.object_id)


@router.delete(
    "/{user_id}/sessions", status_code=204, summary="End all sessions of an account", responses=responses(401, 403, 404)
)
async def end_users_sessions(
    user_id: UserId, admin: Admin, admins: Admins, sessions: Sessions, audit_log: CallerAuditLog
) -> None:
    """End all sessions of an account; for admins."""
    user = await admins.find(object_id(user_id))
    await sessions.end_all(user.object_id, audit_log, by=admin.object_id)
