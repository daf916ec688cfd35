"""The application class."""

from fastapi import FastAPI
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp


class Application(FastAPI):
    """FastAPI with the middleware that this service uses, and no other.

    FastAPI adds four of its own: for errors that nothing else handles (``UnexpectedErrors`` does), for telemetry, for the size
    of bodies (``BodyLimit`` does), and for dependencies that yield, of which there are none. Every step of every request would
    pass through each of them.
    """

    def build_middleware_stack(self) -> ASGIApp:
        """The router within the exception handlers, within the application's middleware; called by Starlette once."""
        app: ASGIApp = ExceptionMiddleware(self.router, handlers=self.exception_handlers)
        for cls, args, kwargs in reversed(self.user_middleware):
            app = cls(app, *args, **kwargs)
        return app
