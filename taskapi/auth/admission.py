"""Holds the bulkheads of expensive routes: the account is known, and let in, before its body is looked at."""

from collections.abc import Awaitable, Iterable
from typing import Any

from fastapi import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from taskapi.admission import BODIES, LARGE_BODY_BYTES, Admission, Work, work_of
from taskapi.auth.dependencies import authenticate
from taskapi.negotiation import Negotiated
from taskapi.routing import StrictRoute


class _Admitted:
    """Runs a route while its bulkhead lets the account in, until the answer has ended, also one that is streamed."""

    def __init__(self, app: ASGIApp, work: Work, least_bytes: int = 0) -> None:
        """Requests whose body is smaller than ``least_bytes`` do not wait."""
        self.app = app
        self.work = work
        self.least_bytes = least_bytes

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if self.least_bytes and not _may_be_larger(scope, self.least_bytes):
            return self.app(scope, receive, send)
        return self._run(scope, receive, send)

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        caller = await authenticate(request)
        admission: Admission = request.app.state.admission
        async with admission.admit(self.work, caller.user.id, scope):
            try:
                await self.app(scope, receive, send)
            finally:
                request.app.state.memory.schedule()


def _may_be_larger(scope: Scope, size: int) -> bool:
    """Whether the body of a request may have that many bytes: it says so, or does not say how many."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) >= size
        if name == b"transfer-encoding":
            return True
    return False


def install(routes: Iterable[BaseRoute]) -> None:
    """Makes the routes that are marked as ``limited``, and large bodies for all others, wait for their turn.

    Applications of one process share their routes.
    """
    for route in routes:
        if not isinstance(route, StrictRoute):
            continue
        work = work_of(route.endpoint)
        if work is None and (route.is_anonymous or not route.takes):
            continue
        limits = (BODIES, LARGE_BODY_BYTES) if work is None else (work,)
        # What no route gives is refused to anybody, and waits for nothing.
        outer: Any = route.app if isinstance(route.app, Negotiated) else route
        if not isinstance(outer.app, _Admitted):
            outer.app = _Admitted(outer.app, *limits)
