"""Pure ASGI middleware, each with one purpose; ``main`` defines their order.

Where one has nothing to do after the application, or after sending a message, it returns the awaitable of what follows: a
coroutine of its own would be one more frame that every step of every request passes through.
"""

import asyncio
import logging
import random
import re
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Set

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taskapi.core.cooperative import activity
from taskapi.core.errors import BodyTooLarge, ServerBusy, StartupError, TargetTooLong
from taskapi.core.logs import request_id
from taskapi.db.damaged import Findings, findings, note_unnamed
from taskapi.web import problems
from taskapi.web.load import READS, Load
from taskapi.web.request_state import RequestState, begin_state
from taskapi.web.routing import JSON, media_type

access_log = logging.getLogger("taskapi.access")

SANE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
]
MAX_TARGET_BYTES = 64_000  # of path and query; a list with every parameter at its longest takes some 42,000
PROBES = frozenset({"/health", "/ready"})
API_HEADERS = [
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
]


def _header(scope: Scope, name: bytes) -> bytes | None:
    return next((value for key, value in scope["headers"] if key == name), None)


def _drop_blanks(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """``headers`` without spaces and tabs around their values (RFC 9110, section 5.5)."""
    for _, value in headers:
        if value != value.strip():
            return [(name, value.strip(b" \t")) for name, value in headers]
    return headers  # the usual case


def new_request_id() -> bytes:
    """An id for a request without one."""
    # It may be guessable. The system's random bytes would release the interpreter lock to the driver's threads.
    return b"%032x" % random.getrandbits(128)  # nosec B311


class _Answer:
    """The messages of an answer on their way to the client: its head gets the headers of ``RequestContext``.

    As with ``ChangedHead``, one small object: functions within a function take several times as much, for as long as it goes on.
    """

    __slots__ = ("_request_id", "_send", "_started", "_state", "status")

    def __init__(self, send: Send, id_bytes: bytes, state: RequestState) -> None:
        self._send, self._request_id, self._state = send, id_bytes, state
        self._started = time.perf_counter()
        self.status = 0

    def milliseconds(self) -> str:
        return f"{(time.perf_counter() - self._started) * 1000:.1f}"

    def send(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [
                *message.get("headers", ()),
                (b"x-request-id", self._request_id),
                (b"x-process-time-ms", self.milliseconds().encode()),
                *self._state.quota_headers,
            ]
        return self._send(message)


class ChangedHead:
    """Passes on the messages of an answer, the head after ``change`` has changed it."""

    __slots__ = ("_change", "_send")

    def __init__(self, send: Send, change: Callable[[Message], None]) -> None:
        self._send, self._change = send, change

    def send(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self._change(message)
        return self._send(message)


class RequestContext:
    """Assigns each request an id and measures its time, for the response and one access log line; counts the requests that read.

    It also strips header values, for all that follows: the server passes on the blanks behind them.
    The headers of its account's limit go out here as well: they belong to this answer, and to no copy that is kept of it.
    """

    def __init__(self, app: ASGIApp, load: Load) -> None:
        self.app = app
        self.load = load

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return (self._serve if scope["type"] == "http" else self.app)(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.load.reads += scope["method"] in READS
        activity.requests += 1
        scope["headers"] = _drop_blanks(scope["headers"])
        given = _header(scope, b"x-request-id")
        id_bytes = given if given and SANE_REQUEST_ID.fullmatch(given) else new_request_id()
        answer = _Answer(send, id_bytes, begin_state(scope))
        token = request_id.set(id_bytes.decode())
        met: Findings = set()
        findings_token = findings.set(met)
        try:
            await self.app(scope, receive, answer.send)
        finally:
            self.load.reads -= scope["method"] in READS
            activity.requests -= 1
            if access_log.isEnabledFor(logging.INFO):
                fields = {
                    "method": scope["method"],
                    "path": scope["raw_path"].decode("ascii", "backslashreplace"),  # still percent-encoded: one line
                    "status": answer.status,
                    "ms": answer.milliseconds(),
                    "client": scope["client"][0] if scope.get("client") else "-",
                }
                access_log.info("request", extra={"fields": fields})
            note_unnamed(met)
            findings.reset(findings_token)
            request_id.reset(token)


class SecurityHeaders:
    """Adds security headers for browsers; a route can set its own instead."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self.app(scope, receive, send)

        return self.app(scope, receive, ChangedHead(send, _add_security_headers).send)


def _add_security_headers(message: Message) -> None:
    headers = message.setdefault("headers", [])
    present = {name for name, _ in headers}
    headers += SECURITY_HEADERS
    headers += [pair for pair in API_HEADERS if pair[0] not in present]


class LoadShedding:
    """Answers 503 while more requests wait for MongoDB than it answers within a second.

    It answers at once, or within a second if very many are refused. Health and readiness checks are always answered, and so are
    requests for ``paths_in_turn``: they wait.
    """

    def __init__(self, app: ASGIApp, load: Load, paths_in_turn: Set[str] = frozenset()) -> None:
        self.app = app
        self.load = load
        self.exempt = paths_in_turn | PROBES

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http" and self.load.is_too_high(scope["method"]) and not self._is_exempt(scope):
            return self._refuse(scope, receive, send)
        return self.app(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if delay := self.load.next_delay():
            with self.load.without(scope["method"]):  # it does nothing while it waits
                await asyncio.sleep(delay)
        await problems.of_domain(ServerBusy())(scope, receive, send)

    def _is_exempt(self, scope: Scope) -> bool:
        return scope["path"].removeprefix(scope.get("root_path", "")) in self.exempt


class TargetLimit:
    """Refuses a request whose path and query are longer than ``MAX_TARGET_BYTES``."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http" and len(scope["raw_path"]) + len(scope["query_string"]) > MAX_TARGET_BYTES:
            return problems.of_domain(TargetTooLong())(scope, receive, send)
        return self.app(scope, receive, send)


class BodyLimit:
    """Refuses a body over ``limit`` bytes: at once by its Content-Length, or else as soon as it exceeds the limit.

    ``others`` has the limits of some routes, by method and path. JSON is always read whole, so for JSON ``limit`` applies there
    too.
    """

    def __init__(self, app: ASGIApp, limit: int, others: Mapping[tuple[str, str], int]) -> None:
        self.app = app
        self.limit = limit
        self.others = others

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        limit, hint = self.others.get((scope["method"], path), self.limit), ""
        if limit > self.limit and media_type(Request(scope)) == JSON:
            limit, hint = self.limit, "Send more as JSON Lines."
        length = _header(scope, b"content-length")
        if length is not None and length.isdigit() and int(length) > limit:
            return problems.of_domain(BodyTooLarge(limit, hint))(scope, receive, send)
        if length is not None or _header(scope, b"transfer-encoding") is None:
            return self.app(scope, receive, send)  # the server enforces the announced length; without both, there is no body
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > limit:
                raise BodyTooLarge(limit, hint)
            return message

        return self.app(scope, counted, send)


class StripTrailingSlash:
    """Treats ``/tasks/`` as ``/tasks``: drops a trailing slash instead of redirecting."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] in ("http", "websocket") and scope["path"].endswith("/") and scope["path"] != "/":
            root = f"{scope.get('root_path', '')}/"
            scope["path"] = root if scope["path"].rstrip("/") == root[:-1] else scope["path"].rstrip("/")
        return self.app(scope, receive, send)


class RootPath:
    """Serves the application under a path, whether the proxy in front strips that path or passes it on."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self.app = app
        self.root_path = root_path

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] in ("http", "websocket"):
            path = scope["path"]
            if path == self.root_path:
                path += "/"
            elif not path.startswith(f"{self.root_path}/"):
                path = self.root_path + path
            scope.update(path=path, root_path=self.root_path)  # no copy: what a stream drops of one would live on in the other
        return self.app(scope, receive, send)


class StartupFailure:
    """Tells the server why the start failed, with the message of ``StartupError`` instead of a traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "lifespan":
            return self.app(scope, receive, send)

        async def send_plainly(message: Message) -> None:
            error = sys.exception()  # Starlette sends the message while it handles what stopped the start
            if message["type"] == "lifespan.startup.failed" and isinstance(error, StartupError):
                message["message"] = str(error)
            await send(message)

        return self.app(scope, receive, send_plainly)
