"""The middleware of WebSockets: what ``middleware`` does for requests, for connections that stay open."""

import logging
import time
from collections.abc import Awaitable, Iterable, Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taskapi.core.errors import ServerBusy
from taskapi.core.logs import request_id
from taskapi.db.damaged import Findings, findings, note_unnamed
from taskapi.web import problems
from taskapi.web.load import Load
from taskapi.web.middleware import SANE_REQUEST_ID, access_log, new_request_id
from taskapi.web.request_state import begin_state

log = logging.getLogger(__name__)

ANY = "*"
UNEXPECTED = 1011  # RFC 6455, section 7.4.1
UPGRADED = 101


class SocketContext:
    """Gives each connection an id, refuses those that may not be, and writes one access log line at its end.

    Pages of other sites may connect only from the ``origins`` that CORS allows: browsers ask nobody before they open a WebSocket.
    """

    def __init__(self, app: ASGIApp, load: Load, origins: Sequence[str]) -> None:
        self.app = app
        self.load = load
        self.origins = frozenset(origins)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return (self._serve if scope["type"] == "websocket" else self.app)(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "").encode("latin-1")
        is_welcome = self._is_welcome(headers)
        del headers  # a connection may last for days, and this is a copy of its token
        id_bytes = given if SANE_REQUEST_ID.fullmatch(given) else new_request_id()
        token = request_id.set(id_bytes.decode())
        met: Findings = set()
        findings_token = findings.set(met)
        begin_state(scope)
        status, closed = 0, 0

        async def noted_receive() -> Message:
            nonlocal closed
            message = await receive()
            if message["type"] == "websocket.disconnect":
                closed = closed or message["code"]
            return message

        async def send_with_context(message: Message) -> None:
            nonlocal status, closed
            if message["type"] in ("websocket.accept", "websocket.http.response.start"):
                status = message.get("status", UPGRADED)
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", id_bytes)]
            elif message["type"] == "websocket.close":
                closed = closed or message.get("code", 1000)
            await send(message)

        try:
            await self._pass_on(scope, is_welcome, noted_receive, send_with_context)
        except OSError:
            pass  # the client is gone
        except Exception:
            log.exception("unexpected error")
            if status == UPGRADED:
                await send_with_context({"type": "websocket.close", "code": UNEXPECTED, "reason": "internal_error"})
            elif not status:
                await problems.of_unexpected()(scope, noted_receive, send_with_context)
        finally:
            fields = {
                "method": "GET",
                "path": scope["raw_path"].decode("ascii", "backslashreplace"),
                "status": status,
                "closed": closed,
                "ms": f"{(time.perf_counter() - started) * 1000:.1f}",
                "client": scope["client"][0] if scope.get("client") else "-",
            }
            access_log.info("websocket", extra={"fields": fields})
            note_unnamed(met)
            findings.reset(findings_token)
            request_id.reset(token)

    def _pass_on(self, scope: Scope, is_welcome: bool, receive: Receive, send: Send) -> Awaitable[None]:
        if not is_welcome:
            detail = "Pages of that origin may not connect. TASKAPI_CORS_ORIGINS lists those that may."
            return problems.render(403, "origin_refused", detail)(scope, receive, send)
        if self.load.is_too_high("GET"):
            return problems.of_domain(ServerBusy())(scope, receive, send)
        return self.app(scope, receive, send)

    def _is_welcome(self, headers: Headers) -> bool:
        """Whether the page that connects is one of ours, or of an allowed origin; programs that are no browsers send none."""
        origin = headers.get("origin")
        if origin is None or not self.origins.isdisjoint((ANY, origin)):
            return True
        own = {headers.get(name, "").lower() for name in ("host", "x-forwarded-host")}  # neither is for a page to choose
        try:
            return (urlsplit(origin).netloc or None) in own
        except ValueError:
            return False


def socket_paths(routes: Iterable[BaseRoute], root_path: str) -> frozenset[str]:
    """The paths that take WebSockets, with and without the path under which a proxy serves the application."""
    paths = {route.path for route in routes if isinstance(route, WebSocketRoute)}
    return frozenset(paths | {root_path + path for path in paths})
