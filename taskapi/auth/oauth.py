"""The errors of the token routes, in the words of OAuth 2 as well (RFC 6749, section 5.2; RFC 7009, section 2.2.1).

A problem document there has the ``error`` that libraries of OAuth know and the ``error_description`` that they show. Its
``type`` keeps the finer code: a wrong password and a wrong second factor are both ``invalid_grant``.
"""

import json
import re
from typing import Any

from fastapi import FastAPI
from pydantic import Field
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taskapi import problems
from taskapi.problems import Problem

PATHS = frozenset({"/token", "/revoke"})
SCHEMAS = "#/components/schemas/"
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


class OAuthProblem(Problem):
    """An error as RFC 9457 writes it and RFC 6749, section 5.2."""

    error: str = Field(
        description="The code of RFC 6749, such as `invalid_grant`; where it has none, that at the end of `type`.",
    )
    error_description: str = Field(description="`detail`, and what is wrong with each value, in ASCII.")


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


def install(app: FastAPI) -> None:
    """Makes the document of ``app`` show the problems of ``PATHS`` as they are answered."""
    plain = app.openapi

    def document() -> dict[str, Any]:
        made = plain()
        components = made["components"]
        if OAuthProblem.__name__ not in components["schemas"]:
            components["schemas"][OAuthProblem.__name__] = schema = OAuthProblem.model_json_schema(
                ref_template=SCHEMAS + "{model}"
            )
            schema.pop("$defs")  # they are those of Problem
            for path in PATHS:
                answers = made["paths"][path]["post"]["responses"]
                for status, answer in answers.items():
                    if content := answer.get("content", {}).get(problems.MEDIA_TYPE):  # which routes share
                        content = {**content, "schema": {"$ref": SCHEMAS + OAuthProblem.__name__}}
                        answers[status] = {**answer, "content": {problems.MEDIA_TYPE: content}}
        return made

    app.openapi = document  # type: ignore[method-assign]


def _error(problem: dict[str, Any]) -> str:
    code: str = problem["error"]
    if any((fault["field"], fault["type"]) == ("grant_type", "literal_error") for fault in problem.get("details", ())):
        return "unsupported_grant_type"
    return ERRORS.get(code, INVALID_REQUEST if problem["status"] in BAD_REQUESTS else code)
