"""Applies the bulkheads of expensive routes: authenticates and admits an account before its body is read."""

from collections.abc import Iterable

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from taskapi.accounts.callers import authenticate
from taskapi.core.memory import MemoryReturn
from taskapi.web.admission import Work, admit, work_of
from taskapi.web.negotiation import Negotiated
from taskapi.web.services import services_of


class _Admitted:
    """Runs a route once its bulkhead admits the account, and holds the place until the answer, even a streamed one, ends."""

    def __init__(self, app: ASGIApp, work: Work) -> None:
        self.app = app
        self.work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        await authenticate(request)
        async with admit(self.work, request):
            try:
                await self.app(scope, receive, send)
            finally:
                services_of(request)[MemoryReturn].schedule()


def install(routes: Iterable[BaseRoute]) -> None:
    """Puts the routes marked as ``limited`` behind their bulkheads. Applications of one process share their routes."""
    for route in routes:
        if isinstance(route, APIRoute) and (work := work_of(route.endpoint)):
            assert isinstance(route.app, Negotiated)  # an unacceptable media type is refused before the request waits
            if not isinstance(route.app.app, _Admitted):
                route.app.app = _Admitted(route.app.app, work)
