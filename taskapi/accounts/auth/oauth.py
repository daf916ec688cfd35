"""OAuth 2 errors of the token routes (RFC 6749, section 5.2; RFC 7009, section 2.2.1).

Their problem documents have the ``error`` that OAuth libraries know, and the ``error_description`` that they show. ``type``
is more specific: a wrong password and a wrong second factor are both ``invalid_grant``.
"""

import json
import re
from collections.abc import Awaitable
from typing import Any

from fastapi import FastAPI
from pydantic import Field
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taskapi.web import openapi, problems
from taskapi.web.json_schema import COMPONENT, schema_of
from taskapi.web.problems import Problem

PATHS = frozenset({"/token", "/revoke"})
INVALID_REQUEST = "invalid_request"
BAD_REQUESTS = frozenset({400, 413, 414, 415, 422})  # the request is malformed, not the credentials wrong
ERRORS = {
    "bad_credentials": "invalid_grant",
    "second_factor_required": "invalid_grant",
    "bad_second_factor": "invalid_grant",
    "inactive_user": "invalid_grant",
    "invalid_grant": "invalid_grant",
    "invalid_scope": "invalid_scope",
}
FORBIDDEN_CHARACTER = re.compile(r"[^ !#-\[\]-~]")  # in error_description


class OAuthProblem(Problem):
    """A problem (RFC 9457) that is also an OAuth 2 error (RFC 6749, section 5.2)."""

    error: str = Field(
        description="The code of RFC 6749, such as `invalid_grant`. The end of `type` is more specific; if RFC 6749 has no code, "
        "it is also `error`.",
    )
    error_description: str = Field(description="`detail` and what is wrong with each value, in ASCII.")


class OAuthErrors:
    """Adds the OAuth 2 error to every problem of a POST to ``PATHS``. Statuses and other headers stay."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if (
            scope["type"] != "http"
            or scope["method"] != "POST"
            or scope["path"].removeprefix(scope.get("root_path", "")) not in PATHS
        ):
            return self.app(scope, receive, send)
        start: Message | None = None

        async def send_with_error(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and Headers(scope=message).get("content-type") == problems.MEDIA_TYPE:
                start = message  # held back: its content length changes
                return
            if start is not None:
                body = json.dumps(add_oauth_error(json.loads(message["body"])), separators=(",", ":")).encode()
                MutableHeaders(scope=start)["content-length"] = str(len(body))
                message = {**message, "body": body}
                await send(start)
                start = None
            await send(message)

        return self.app(scope, receive, send_with_error)


def add_oauth_error(problem: dict[str, Any]) -> dict[str, Any]:
    """``problem``, a problem document, with ``error`` and ``error_description`` as RFC 6749 defines them.

    Problems without a code there, such as 429 and 503, keep their own.
    """
    faults = problem.get("details", ())
    texts = [problem["detail"], "; ".join(f"{fault['field']}: {fault['message']}" for fault in faults)]
    description = FORBIDDEN_CHARACTER.sub("'", " ".join(filter(None, texts)))
    return {**problem, "error": _error(problem), "error_description": description}


def install(app: FastAPI) -> None:
    """Adds ``OAuthProblem`` to the OpenAPI document of ``app``, as the schema of the problems of ``PATHS``."""
    create = app.openapi

    def document() -> dict[str, Any]:
        created = create()
        if OAuthProblem.__name__ not in created["components"]["schemas"]:  # FastAPI creates the document once
            _add_oauth(created)
        return created

    app.openapi = document  # type: ignore[method-assign]


def _add_oauth(document: dict[str, Any]) -> None:
    components = document["components"]
    components["schemas"][OAuthProblem.__name__] = schema = schema_of(OAuthProblem)
    schema.pop("$defs")  # defined by Problem already
    known = components["examples"]
    for path in PATHS:
        answers = document["paths"][path]["post"]["responses"]
        for status, answer in answers.items():
            if content := answer.get("content", {}).get(problems.MEDIA_TYPE):  # shared by routes
                shown = {code: {**known[code], "value": add_oauth_error(known[code]["value"])} for code in content["examples"]}
                content = {**content, "schema": {"$ref": COMPONENT.format(model=OAuthProblem.__name__)}, "examples": shown}
                answers[status] = {**answer, "content": {problems.MEDIA_TYPE: content}}
    elsewhere = openapi.EXAMPLE.findall(str(document["paths"]))
    components["examples"] = {code: known[code] for code in known if code in elsewhere}


def _error(problem: dict[str, Any]) -> str:
    code: str = problem["error"]
    if any((fault["field"], fault["type"]) == ("grant_type", "literal_error") for fault in problem.get("details", ())):
        return "unsupported_grant_type"
    return ERRORS.get(code, INVALID_REQUEST if problem["status"] in BAD_REQUESTS else code)
