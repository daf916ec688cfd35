"""The application class."""

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from taskapi.web.error_handling import HandledErrors
from taskapi.web.route_table import RouteTable


class Application(FastAPI):
    """FastAPI with the middleware that this service uses, and no other.

    FastAPI adds four of its own: for errors that nothing else handles (``UnexpectedErrors`` does), for telemetry, for the size
    of bodies (``BodyLimit`` does), and for dependencies that yield, of which there are none. Every step of every request would
    pass through each of them. ``RouteTable`` finds most routes; the others are Starlette's.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self.middleware_stack is None:
            await super().__call__(scope, receive, send)
        else:
            scope["app"] = self
            await self.middleware_stack(scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        """The routes within the exception handlers, within the application's middleware; called by Starlette once."""
        app: ASGIApp = HandledErrors(RouteTable(self.routes, self.router), self.exception_handlers)
        for cls, args, kwargs in reversed(self.user_middleware):
            app = cls(app, *args, **kwargs)
        return app
