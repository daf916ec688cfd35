"""Cross-origin requests: which headers browsers may send and read."""

from collections.abc import Awaitable, Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taskapi.web import problems
from taskapi.web.middleware import ChangedHead

METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
ALLOWED_HEADERS = [
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Last-Event-ID",
    "X-Request-ID",
]
TRACING_HEADERS = ["baggage", "sentry-trace", "traceparent", "tracestate", "X-Requested-With"]  # that libraries add on their own
EXPOSED_HEADERS = [
    "Accept-Patch",
    "Allow",
    "Content-Disposition",
    "ETag",
    "Idempotent-Replay",
    "Link",
    "Location",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "WWW-Authenticate",
    "X-Next-Cursor",
    "X-Process-Time-Ms",
    "X-Request-ID",
    "X-Total-Count",
    "X-Total-Count-Relation",
]
PRIVATE_NETWORK = b"access-control-request-private-network"


class CORS(CORSMiddleware):
    """Starlette's middleware, with problems as refusals.

    A preflight that asks for private network access is answered without that permission, not refused. Without an Origin, an
    answer only gets the header Vary, so that no cache gives it to a page of another origin.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        allowed = [*ALLOWED_HEADERS, *TRACING_HEADERS]
        super().__init__(app, origins, allow_methods=METHODS, allow_headers=allowed, expose_headers=EXPOSED_HEADERS)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:  # type: ignore[override]  # an awaitable
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        if any(name == b"origin" for name, _ in scope["headers"]):
            return super().__call__(scope, receive, send)
        return self.app(scope, receive, ChangedHead(send, _vary_by_origin).send)

    def preflight_response(self, request_headers: Headers) -> Response:
        """The answer to a preflight request."""
        asked = Headers(raw=[pair for pair in request_headers.raw if pair[0] != PRIVATE_NETWORK])
        response = super().preflight_response(asked)
        if response.status_code < 400:
            return response
        sentence = f"{bytes(response.body).decode()}."
        return problems.render(400, "cors_refused", sentence, headers={"Vary": response.headers["Vary"]})


def _vary_by_origin(message: Message) -> None:
    headers = message.get("headers", ())
    varying = [value for name, value in headers if name == b"vary"]
    others = [pair for pair in headers if pair[0] != b"vary"] if varying else headers
    message["headers"] = [*others, (b"vary", b", ".join([*varying, b"Origin"]))]
