"""The OpenAPI document: FastAPI's, with every problem in its one format."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.routing import Route

from taskapi.negotiation import Negotiated
from taskapi.problems import Problem, responses
from taskapi.routing import JSON

EVERYWHERE = responses(500, 503)
NEGOTIATED = responses(406)  # wherever success has content
LIMITED = responses(429)  # wherever an account is asked for
FRAMEWORK_SCHEMAS = ("HTTPValidationError", "ValidationError")
API_TOKEN = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API token. It serves wherever signing in does, but for the routes that answer 403 `session_required`.",
}

IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A new random text for each request. Repeated with its key within 24 hours, a request is not run again: it "
    "gets its first answer, with `Idempotent-Replay: true`. Another request under the key is 422; while the first is still being "
    "answered, a repeat is 409. Failures (5xx), 401, 406 and 429 are not kept.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},  # no example: Swagger UI would send it
}
IDEMPOTENT_REPLAY = {
    "description": "Given when this is the first answer again.",
    "schema": {"type": "string", "enum": ["true"]},
}
RATE_LIMIT = {  # as draft-ietf-httpapi-ratelimit-headers-06 names them
    "RateLimit-Limit": "The requests that your account may send in a minute.",
    "RateLimit-Remaining": "How many of them are left.",
    "RateLimit-Reset": "The seconds until none of them is used.",
}
SECONDS = {"description": "The seconds after which to repeat it.", "schema": {"type": "integer"}}
NOT_REPLAYED = {"401", "406", "409", "429", "500", "503"}


def install(app: FastAPI, takes_key: Callable[[str], bool]) -> None:
    """Makes ``app`` describe itself; the document is made once, when it is first asked for.

    A POST takes an Idempotency-Key when ``takes_key`` says so of its path.
    """

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, takes_key)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
    for route in app.routes:
        if isinstance(route, Route) and route.path == app.openapi_url:  # FastAPI's own, which is no StrictRoute
            route.app = Negotiated(route.app, (JSON,))


def _document(app: FastAPI, takes_key: Callable[[str], bool]) -> dict[str, Any]:
    made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas: dict[str, Any] = made["components"]["schemas"]
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= problem.pop("$defs")
    schemas["Problem"] = problem
    for name in FRAMEWORK_SCHEMAS:
        schemas.pop(name, None)
    made["components"]["securitySchemes"]["token"] = API_TOKEN
    for path, item in made["paths"].items():
        for method, operation in item.items():
            if "security" in operation:
                operation["security"].append({"token": []})
            answers = operation["responses"]
            if "HTTPValidationError" in str(answers.get("422")):
                del answers["422"]  # FastAPI's guess for a route whose only parameter is its path
            has_content = any("content" in answer for status, answer in answers.items() if status.startswith("2"))
            limited = "security" in operation
            added = {**(NEGOTIATED if has_content else {}), **(LIMITED if limited else {}), **EVERYWHERE}
            answers |= {str(status): answer for status, answer in added.items() if str(status) not in answers}
            if limited:
                _show_limit(answers)
            if "429" in answers:
                answers["429"].setdefault("headers", {})["Retry-After"] = SECONDS
            if method == "post" and takes_key(path):
                _take_key(operation)
    return made


def _show_limit(answers: dict[str, Any]) -> None:
    for status, answer in answers.items():
        if status < "400" or status == "429":
            headers = answer.setdefault("headers", {})
            headers |= {name: {"description": text, "schema": {"type": "integer"}} for name, text in RATE_LIMIT.items()}


def _take_key(operation: dict[str, Any]) -> None:
    operation["parameters"] = [*operation.get("parameters", ()), IDEMPOTENCY_KEY]
    answers = operation["responses"]
    answers |= {str(status): answer for status, answer in responses(409, 422).items() if str(status) not in answers}
    answers["409"].setdefault("headers", {})["Retry-After"] = {"schema": {"type": "integer"}}
    for status, answer in answers.items():
        if status not in NOT_REPLAYED:
            answer.setdefault("headers", {})["Idempotent-Replay"] = IDEMPOTENT_REPLAY
