"""The middleware that answers exceptions; ``problems`` has the answers."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taskapi.web import problems

log = logging.getLogger(__name__)


class _Noticing:
    """Notices whether an answer has begun: its first message is the head."""

    __slots__ = ("_send", "started")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    def send(self, message: Message) -> Awaitable[None]:
        self.started = True
        return self._send(message)


class UnexpectedErrors:
    """Answers 500 for an unhandled exception, and logs it with its traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return (self._serve if scope["type"] == "http" else self.app)(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        noticing = _Noticing(send)
        try:
            await self.app(scope, receive, noticing.send)
        except ClientDisconnect:
            log.info("the client disconnected before the request was complete")
        except Exception:
            log.exception("unexpected error")
            if noticing.started:
                raise  # too late for another response: the server has to cut this one off
            await problems.of_unexpected()(scope, receive, send)


class HandledErrors:
    """Answers the exceptions that have a handler, in place of Starlette's middleware, which adds frames to every message."""

    def __init__(self, app: ASGIApp, handlers: Mapping[Any, Callable[..., Any]]) -> None:
        self.app = app
        self.handlers = handlers

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return (self._serve if scope["type"] == "http" else self.app)(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        noticing = _Noticing(send)
        try:
            await self.app(scope, receive, noticing.send)
        except Exception as error:
            handler = next((self.handlers[kind] for kind in type(error).__mro__ if kind in self.handlers), None)
            if handler is None or noticing.started:
                raise
            response = await handler(Request(scope, receive), error)
            await response(scope, receive, send)
