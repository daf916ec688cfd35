"""Holds the bulkheads of expensive routes: the account is known, and let in, before its body is looked at."""

from collections.abc import Iterable

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from taskapi.accounts.dependencies import authenticate
from taskapi.core.memory import MemoryReturn
from taskapi.web.admission import Work, admit, work_of
from taskapi.web.negotiation import Negotiated
from taskapi.web.services import services_of


class _Admitted:
    """Runs a route while its bulkhead lets the account in, until the answer has ended, also one that is streamed."""

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
    """Makes the routes that are marked as ``limited`` wait for their turn; applications of one process share their routes."""
    for route in routes:
        if isinstance(route, APIRoute) and (work := work_of(route.endpoint)):
            assert isinstance(route.app, Negotiated)  # what no route gives is refused to anybody, and waits for nothing
            if not isinstance(route.app.app, _Admitted):
                route.app.app = _Admitted(route.app.app, work)
