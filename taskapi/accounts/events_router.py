"""Routes of security events."""

from typing import Annotated, Any

from fastapi import Query, Request, Response

from taskapi.accounts.dependencies import AccountHolder, Admin
from taskapi.audit.dependencies import SecurityEvents
from taskapi.audit.schemas import AllEventsQuery, EventQuery, SecurityEventRead
from taskapi.core.errors import QueryTimeout
from taskapi.web import admission
from taskapi.web.pagination import LIST_HEADERS
from taskapi.web.problems import responses
from taskapi.web.routing import page_headers, path_to, strict_router

router = strict_router()
PAGE: dict[str, Any] = {
    "response_description": "A page of events, newest first.",
    "responses": {200: {"headers": LIST_HEADERS}, **responses(401, 403, 422, QueryTimeout, *admission.PROBLEMS)},
}


@router.get(
    "/users/me/events",
    tags=["users"],
    summary="List the events of your account",
    **PAGE,
)
async def list_own_events(
    query: Annotated[EventQuery, Query()], user: AccountHolder, events: SecurityEvents, request: Request, response: Response
) -> list[SecurityEventRead]:
    """The security events of your account, newest first: sign-ins, failures, changes of passwords, tokens and roles."""
    async with admission.admit(admission.RECORDS, request):
        page = await events.list_for_user(user.object_id, query)
    response.headers.update(page_headers(path_to(request, router, "list_own_events"), query, page.total))
    return page.entries


@router.get(
    "/events",
    tags=["admin"],
    summary="List the events of all accounts",
    **PAGE,
)
async def list_events(
    query: Annotated[AllEventsQuery, Query()], _: Admin, events: SecurityEvents, request: Request, response: Response
) -> list[SecurityEventRead]:
    """The security events of all accounts, newest first; for admins."""
    async with admission.admit(admission.RECORDS, request):
        page = await events.list_all(query)
    response.headers.update(page_headers(path_to(request, router, "list_events"), query, page.total))
    return page.entries
