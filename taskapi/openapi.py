"""The OpenAPI document: FastAPI's, with every problem in its one format."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.routing import Route

from taskapi.negotiation import Negotiated
from taskapi.problems import Problem, responses
from taskapi.routing import JSON

EVERYWHERE = responses(500, 503)
NEGOTIATED = responses(406)  # wherever success has content
FRAMEWORK_SCHEMAS = ("HTTPValidationError", "ValidationError")


def install(app: FastAPI) -> None:
    """Makes ``app`` describe itself; the document is made once, when it is first asked for."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
    for route in app.routes:
        if isinstance(route, Route) and route.path == app.openapi_url:  # FastAPI's own, which is no StrictRoute
            route.app = Negotiated(route.app, (JSON,))


def _document(app: FastAPI) -> dict[str, Any]:
    made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas: dict[str, Any] = made["components"]["schemas"]
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= problem.pop("$defs")
    schemas["Problem"] = problem
    for name in FRAMEWORK_SCHEMAS:
        schemas.pop(name, None)
    for item in made["paths"].values():
        for operation in item.values():
            answers = operation["responses"]
            if "HTTPValidationError" in str(answers.get("422")):
                del answers["422"]  # FastAPI's guess for a route whose only parameter is its path
            has_content = any("content" in answer for status, answer in answers.items() if status.startswith("2"))
            added = {**(NEGOTIATED if has_content else {}), **EVERYWHERE}
            answers |= {str(status): answer for status, answer in added.items() if str(status) not in answers}
    return made
