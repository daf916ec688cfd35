"""The methods that every URL supports without its own route: HEAD and OPTIONS (RFC 9110, section 9.3)."""

from collections.abc import Awaitable, Iterable

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEAD = "taskapi.head"  # in the scope of a GET that stands for a HEAD


class HeadMiddleware:
    """Answers HEAD like GET, without the content. A stream is stopped at its first part."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            return self.app(scope, receive, send)
        return self._answer_head(scope, receive, send)

    async def _answer_head(self, scope: Scope, receive: Receive, send: Send) -> None:
        complete = False
        # From 2.4 on, send() may raise OSError if the client has disconnected.
        asgi = {**scope.get("asgi", {}), "spec_version": "2.4"}

        async def send_head(message: Message) -> None:
            nonlocal complete
            if message["type"] == "http.response.start":
                await send(message)
                return
            if not complete:
                complete = True
                await send({"type": "http.response.body", "body": b""})
            if message.get("more_body"):
                raise OSError("HEAD has no content")

        try:
            await self.app({**scope, "method": "GET", "asgi": asgi, HEAD: True}, receive, send_head)
        except (OSError, ClientDisconnect):
            if not complete:
                raise


def is_head(request: Request) -> bool:
    """Whether the caller sent HEAD and therefore gets no content."""
    return HEAD in request.scope


def allow_headers(request: Request, known: str = "") -> dict[str, str]:
    """The headers Allow, and Accept-Patch if PATCH is allowed, of the request's path, from all its routes.

    ``known`` is an Allow header with methods that are already known, such as those of a mounted application.
    """
    outside = {**request.scope, "root_path": request.scope.get("app_root_path", request.scope.get("root_path", ""))}
    methods = {method.strip() for method in known.split(",") if method.strip()} | {"OPTIONS"}
    patches: list[str] = []
    for route in request.app.routes:
        if route.matches(outside)[0] is Match.NONE:
            continue
        own = getattr(route, "methods", None) or ()
        methods.update(own)
        if "PATCH" in own:
            patches.extend(getattr(route, "takes", ()))
    if "GET" in methods:
        methods.add("HEAD")
    headers = {"Allow": ", ".join(sorted(methods))}
    return {**headers, **accept_patch(patches)} if patches else headers


def accept_patch(media_types: Iterable[str]) -> dict[str, str]:
    """The header with the patch formats that a path accepts (RFC 5789, section 3.1)."""
    return {"Accept-Patch": ", ".join(dict.fromkeys(media_types))}
