"""The OpenAPI document: FastAPI's, with every problem in the one format."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, request_response

from taskapi.core.errors import TargetTooLong, TooManyAtOnce, TooManyRequests
from taskapi.web import problems
from taskapi.web.idempotency.errors import IdempotencyInFlight, IdempotencyKeyReused
from taskapi.web.idempotency.middleware import NOT_KEPT
from taskapi.web.json_schema import schema_of, without_null
from taskapi.web.negotiation import Negotiated
from taskapi.web.problems import MEDIA_TYPE, RETRY_AFTER, Problem, responses
from taskapi.web.routing import FORM, JSON

Json = dict[str, Any]

EVERYWHERE = responses(500, 503)
NEGOTIATED = responses(406)  # wherever success has content
LIMITED = responses(TooManyRequests)  # wherever an account is asked for
WITH_BODY = responses(TooManyAtOnce)  # wherever that account may send a large one
WITH_FILTER = responses(TargetTooLong)  # wherever a filter may stand in the URL
KEYED = responses(IdempotencyInFlight, IdempotencyKeyReused)
FRAMEWORK_SCHEMAS = ("HTTPValidationError", "ValidationError")
API_TOKEN = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API token. It works like an access token, except on routes that answer 403 `session_required`.",
}

IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A new random text for each request. If you repeat a request with its key within 24 hours, it is not run "
    "again: you get the first answer, with `Idempotent-Replay: true`. A different request with the key gets 422, a repeat while "
    "the first is still running 409. Failures (5xx), 401, 403, 406, 408, 412, 429 and a refused `Content-Encoding` are not "
    "stored; what distinguishes two requests is their method, URL, `Content-Type` and body.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},  # no example: Swagger UI would send it
}
IDEMPOTENT_REPLAY = {
    "description": "Present when the response is a replay.",
    "schema": {"type": "string", "enum": ["true"]},
}
RATE_LIMIT = {  # as draft-ietf-httpapi-ratelimit-headers-06 names them
    "RateLimit-Limit": "The number of requests that your account may send per minute.",
    "RateLimit-Remaining": "How many of them remain.",
    "RateLimit-Reset": "Seconds until all of them are available again.",
}
RATE_LIMIT_HEADERS = {name: {"description": text, "schema": {"type": "integer"}} for name, text in RATE_LIMIT.items()}
ACCEPT_PATCH = {
    "Accept-Patch": {"description": "The patch formats that this URL accepts (RFC 5789).", "schema": {"type": "string"}}
}
NO_CONTENT = "Done; the response has no content."
EXAMPLE = re.compile(r"#/components/examples/(\w+)")


def install(app: FastAPI, takes_key: Callable[[str], bool]) -> None:
    """Makes ``app`` describe itself. The document is created once, when it is first requested.

    A POST accepts an Idempotency-Key if ``takes_key`` says so for its path.
    """

    def document() -> Json:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, takes_key)
        return app.openapi_schema

    async def answer(request: Request) -> Response:
        root = request.scope.get("root_path", "").rstrip("/")
        return JSONResponse({**app.openapi(), **({"servers": [{"url": root}]} if root else {})})

    app.openapi = document  # type: ignore[method-assign]
    for route in app.routes:
        if isinstance(route, Route) and route.path == app.openapi_url:  # FastAPI's own, which would list the root path as well
            route.app = Negotiated(request_response(answer), (JSON,))


def _document(app: FastAPI, takes_key: Callable[[str], bool]) -> Json:
    made = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        contact=app.contact,
        tags=app.openapi_tags,
        servers=[{"url": "/"}],
        routes=app.routes,
    )
    schemas: Json = made["components"]["schemas"]
    schemas["Problem"] = schema_of(Problem)
    for name in FRAMEWORK_SCHEMAS:
        schemas.pop(name, None)
    # Swagger UI puts the cursor into the last one: the user name, which most want
    made["components"]["securitySchemes"] = {"token": API_TOKEN} | made["components"]["securitySchemes"]
    made["components"]["headers"] = RATE_LIMIT_HEADERS
    for path, item in made["paths"].items():
        for method, operation in item.items():
            _complete(operation, method, keyed=method == "post" and takes_key(path))
            form = operation.get("requestBody", {}).get("content", {}).get(FORM)
            if form:
                sent = schemas[form["schema"]["$ref"].rpartition("/")[2]]
                sent["properties"] = {name: without_null(schema) for name, schema in sent["properties"].items()}
    _move_definitions(made, schemas)
    for name, examples in _examples():
        if name in schemas:
            schemas[name]["examples"] = examples
    made["components"]["examples"] = problems.examples(set(EXAMPLE.findall(str(made))))
    return made


def _complete(operation: Json, method: str, *, keyed: bool) -> None:
    """Adds what every operation of its kind has."""
    answers = operation["responses"]
    limited = "security" in operation
    if limited:
        operation["security"].append({"token": []})
    else:
        operation["security"] = []
    if "HTTPValidationError" in str(answers.get("422")):
        del answers["422"]  # FastAPI's guess for a route whose only parameter is its path
    if "204" in answers:
        answers["204"]["description"] = NO_CONTENT
    has_content = any("content" in answer for status, answer in answers.items() if status.startswith("2"))
    with_body = limited and "requestBody" in operation
    with_filter = any(parameter["name"] == "where" for parameter in operation.get("parameters", ()))
    for added in (
        NEGOTIATED if has_content else {},
        LIMITED if limited else {},
        WITH_BODY if with_body else {},
        WITH_FILTER if with_filter else {},
        EVERYWHERE,
        KEYED if keyed else {},
    ):
        _add_problems(answers, added)
    if limited:
        _show_limit(answers)
    if method == "patch":
        _add_headers(answers["415"], ACCEPT_PATCH)
    if keyed:
        _take_key(operation)


def _add_problems(answers: Json, added: dict[int | str, Json]) -> None:
    for status, answer in added.items():
        known = answers.setdefault(str(status), {**answer, "content": {MEDIA_TYPE: {**answer["content"][MEDIA_TYPE]}}})
        content = known["content"][MEDIA_TYPE]
        content["examples"] = {**content["examples"], **answer["content"][MEDIA_TYPE]["examples"]}


def _show_limit(answers: Json) -> None:
    for status, answer in answers.items():
        if status < "500":  # a refusal may come before the account is known, and then lacks them
            _add_headers(answer, {name: {"$ref": f"#/components/headers/{name}"} for name in RATE_LIMIT_HEADERS})


def _take_key(operation: Json) -> None:
    operation["parameters"] = [*operation.get("parameters", ()), IDEMPOTENCY_KEY]
    in_flight = list(KEYED[409]["content"][MEDIA_TYPE]["examples"])
    for status, answer in operation["responses"].items():
        if status == "409":
            _add_headers(answer, RETRY_AFTER)
            if list(answer["content"][MEDIA_TYPE]["examples"]) == in_flight:
                continue
        if status < "500" and int(status) not in NOT_KEPT:
            _add_headers(answer, {"Idempotent-Replay": IDEMPOTENT_REPLAY})


def _add_headers(answer: Json, headers: Json) -> None:
    answer["headers"] = {**answer.get("headers", {}), **headers}


def _move_definitions(node: Any, schemas: Json) -> None:
    """Moves all ``$defs`` below ``node`` to the components, where the references to them point."""
    if isinstance(node, dict):
        for name, schema in node.pop("$defs", {}).items():
            if schemas.setdefault(name, schema) != schema:
                raise ValueError(f"there are two schemas of the name {name}")
            _move_definitions(schema, schemas)
    for inner in list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else ():
        _move_definitions(inner, schemas)


def _examples(family: type[BaseModel] = BaseModel) -> Iterator[tuple[str, Any]]:
    """By the name of a model: its examples as they are written. Pydantic sorts their members, FastAPI drops the nulls."""
    for model in family.__subclasses__():
        extra = model.model_config.get("json_schema_extra")
        if model.__module__.startswith("taskapi.") and isinstance(extra, dict) and "examples" in extra:
            yield model.__name__, extra["examples"]
        yield from _examples(model)
