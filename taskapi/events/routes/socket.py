"""The WebSocket of events: ``GET /events/ws``."""

import asyncio
import logging
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field
from pymongo.errors import PyMongoError
from starlette.responses import Response
from starlette.routing import WebSocketRoute
from starlette.types import Receive, Scope, Send

from taskapi.accounts.callers import Caller, admit_caller, identify
from taskapi.core.errors import DomainError, InsufficientScope, InvalidInput
from taskapi.db.errors import to_domain_error
from taskapi.events.errors import AuthenticationTooLate
from taskapi.events.guard import ListenerGuard, Listening
from taskapi.events.socket.closing import OF_END, code_of
from taskapi.events.socket.messages import read_token
from taskapi.events.socket.session import Session
from taskapi.events.tickets import MAX_LENGTH, Tickets
from taskapi.tasks.services.changes import TaskChanges
from taskapi.web import problems
from taskapi.web.event_stream import Until
from taskapi.web.query_models import read_query
from taskapi.web.request_state import forget_request
from taskapi.web.routing import strict_router
from taskapi.web.services import services_of
from taskapi.web.websocket import Disconnected, WebSocket

log = logging.getLogger(__name__)

PATH: Final = "/events/ws"
SUBPROTOCOL: Final = "taskapi.bearer"  # the token is the second one: browsers can send nothing else with a handshake
SCOPE: Final = "tasks:read"
AUTHENTICATION_SECONDS: Final = 10.0
UPGRADE: Final = {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}


class SocketQuery(BaseModel):
    """The parameters of a handshake."""

    model_config = ConfigDict(extra="forbid")

    ticket: Annotated[str | None, Field(max_length=MAX_LENGTH)] = None


class EventsSocket:
    """Serves the connections. The close code says what has ended one, and its reason is the code of the error."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        try:
            query = read_query(SocketQuery, socket)
        except InvalidInput as error:
            await problems.of_domain(error)(scope, receive, send)
            return
        try:
            await socket.accept(SUBPROTOCOL if SUBPROTOCOL in socket.subprotocols else None)
            await _serve(socket, query)
        except Disconnected:
            pass
        except DomainError as error:
            await socket.close(code_of(error), error.code)
        except PyMongoError as error:
            known = to_domain_error(error)
            if known is None:
                raise
            log.warning("%s: %s", known.code, type(error).__name__)
            await socket.close(code_of(known), known.code)


async def _serve(socket: WebSocket, query: SocketQuery) -> None:
    guard = services_of(socket.scope)[ListenerGuard]
    listening, session = await _begin(socket, query, guard)
    try:
        async with Until(listening.ended):
            await session.run()
        reason = listening.ended.result()
        await socket.close(OF_END[reason], reason.value)
    finally:
        guard.remove(listening)


async def _begin(socket: WebSocket, query: SocketQuery, guard: ListenerGuard) -> tuple[Listening, Session]:
    """A caller who listens until ``guard`` is told otherwise, with nothing of the request that is no longer needed.

    The ticket is used up, unless something is raised before.
    """
    caller = await _authenticate(socket, query)
    session, services = Session(socket, caller), services_of(socket.scope)
    listening = guard.add(caller)
    try:
        await services[TaskChanges].now()
        if query.ticket is not None:
            await services[Tickets].use_up(query.ticket)
    except BaseException:
        guard.remove(listening)
        raise
    forget_request(socket.scope)
    return listening, session


async def _authenticate(socket: WebSocket, query: SocketQuery) -> Caller:
    """The caller, by the ticket, the token that came with the handshake, or that of the first message.

    Raises:
        AuthenticationTooLate: the first message does not come.
        NotAuthenticated, InvalidTicket, InvalidToken, InsufficientScope, TooManyRequests: as for a request.
    """
    services = services_of(socket.scope)
    try:
        async with asyncio.timeout(AUTHENTICATION_SECONDS):
            if query.ticket is not None:
                caller = await services[Tickets].find_caller(query.ticket)
            else:
                caller = await identify(_token_of_handshake(socket) or read_token(await socket.receive()), services)
    except TimeoutError:
        raise AuthenticationTooLate from None
    admit_caller(socket.scope, caller)
    if SCOPE not in caller.scopes:
        raise InsufficientScope(SCOPE)
    return caller


def _token_of_handshake(socket: WebSocket) -> str | None:
    scheme, _, token = socket.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip(" ")
    offered = socket.subprotocols
    return offered[1] if len(offered) > 1 and offered[0] == SUBPROTOCOL else None


router = strict_router(prefix="/events", tags=["events"])
router.routes.append(WebSocketRoute(PATH, EventsSocket()))


@router.get("/ws", include_in_schema=False)
async def require_upgrade() -> Response:
    """Tells those who come without a complete WebSocket handshake what is missing (RFC 9110, section 15.5.22)."""
    return problems.render(426, "upgrade_required", "This URL takes WebSockets of version 13.", headers=UPGRADE)
