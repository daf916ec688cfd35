"""The dependencies of routes: who listens, and the services of events."""

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import SecurityScopes

from taskapi.accounts.callers import Caller, admit_caller, authenticate
from taskapi.accounts.dependencies import BearerAccount, TaskReader
from taskapi.events.tickets import Tickets
from taskapi.web.request_state import state_of
from taskapi.web.services import provided, services_of


class BearerOrTicket(BearerAccount):
    """Accepts any token, or a ticket in the query. With both, the ticket counts. What opens a stream has to use it up."""

    async def __call__(self, request: Request, needed: SecurityScopes) -> Caller:  # type: ignore[override]
        """The caller.

        Raises:
            InvalidTicket: the ticket does not work.
            NotAuthenticated, InvalidToken, InsufficientScope, TooManyRequests: as ``BearerAccount`` says.
        """
        ticket = request.query_params.get("ticket")
        if ticket is not None and state_of(request).caller is None:
            admit_caller(request.scope, await services_of(request)[Tickets].find_caller(ticket))
        await super().__call__(request, needed)
        return await authenticate(request)


async def task_reading_caller(_: TaskReader, request: Request) -> Caller:
    """The caller, whose token has the scope ``tasks:read``."""
    return await authenticate(request)


Listener = Annotated[Caller, Security(BearerOrTicket(), scopes=["tasks:read"])]
TaskReadingCaller = Annotated[Caller, Depends(task_reading_caller)]
EventTickets = Annotated[Tickets, Depends(provided(Tickets))]
