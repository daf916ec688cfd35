"""The address and scheme of a client behind a proxy."""

from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn._types import ASGI3Application
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware


class ForwardedHeaders:
    """Believes ``trusted`` proxies what X-Forwarded-For and X-Forwarded-Proto say, as Uvicorn's own middleware does.

    That one would keep a frame with a header of the request, maybe the access token, for as long as the answer goes on.
    """

    def __init__(self, app: ASGIApp, trusted: Sequence[str]) -> None:
        self.app = app
        self._read = ProxyHeadersMiddleware(cast(ASGI3Application, _do_nothing), list(trusted))

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "lifespan":
            reading = self._read(scope, receive, send)  # type: ignore[arg-type]
            with suppress(StopIteration):  # it waits for nothing
                reading.send(None)
        return self.app(scope, receive, send)


async def _do_nothing(scope: Scope, receive: Receive, send: Send) -> None:
    pass
