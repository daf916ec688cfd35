"""The errors of the token routes, in the words of OAuth 2 as well (RFC 6749, section 5.2; RFC 7009, section 2.2.1).

A problem document there has the ``error`` that libraries of OAuth know and the ``error_description`` that they show. Its
``type`` keeps the finer code: a wrong password and a wrong second factor are both ``invalid_grant``.
"""

import json
import re
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taskapi import problems

PATHS = frozenset({"/token", "/revoke"})
INVALID_REQUEST = "invalid_request"
BAD_REQUESTS = frozenset({400, 413, 414, 415, 422})  # the request itself is wrong, not what it proves
ERRORS = {
    "bad_credentials": "invalid_grant",
    "second_factor_required": "invalid_grant",
    "bad_second_factor": "invalid_grant",
    "inactive_user": "invalid_grant",
    "invalid_grant": "invalid_grant",
    "invalid_scope": "invalid_scope",
}
UNDESCRIBABLE = re.compile(r"[^ !#-\[\]-~]")  # what error_description must not hold


class OAuthErrors:
    """Makes every problem of a POST to ``PATHS`` one that libraries of OAuth understand; statuses stay."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or scope["method"] != "POST"
            or scope["path"].removeprefix(scope.get("root_path", "")) not in PATHS
        ):
            await self.app(scope, receive, send)
            return
        start: Message | None = None

        async def send_described(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and Headers(scope=message).get("content-type") == problems.MEDIA_TYPE:
                start = message  # it says how long the body is
                return
            if start is not None:
                body = json.dumps(described(json.loads(message["body"])), separators=(",", ":")).encode()
                MutableHeaders(scope=start)["content-length"] = str(len(body))
                message = {**message, "body": body}
                await send(start)
                start = None
            await send(message)

        await self.app(scope, receive, send_described)


def described(problem: dict[str, Any]) -> dict[str, Any]:
    """``problem``, a problem document, with ``error`` and ``error_description`` as RFC 6749 defines them.

    What has no word there, such as 429 and 503, keeps its own code.
    """
    faults = problem.get("details", ())
    texts = [problem["detail"], "; ".join(f"{fault['field']}: {fault['message']}" for fault in faults)]
    description = UNDESCRIBABLE.sub("'", " ".join(filter(None, texts)))
    return {**problem, "error": _error(problem), "error_description": description}


def _error(problem: dict[str, Any]) -> str:
    code: str = problem["error"]
    if any((fault["field"], fault["type"]) == ("grant_type", "literal_error") for fault in problem.get("details", ())):
        return "unsupported_grant_type"
    return ERRORS.get(code, INVALID_REQUEST if problem["status"] in BAD_REQUESTS else code)
