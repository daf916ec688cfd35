"""How routes read their requests: strict about the media type, the JSON and the query parameters."""

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Iterator
from email.message import Message
from typing import Any, TypeVar

from fastapi import APIRouter, Path, Request
from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies.models import Dependant
from fastapi.params import Form
from fastapi.routing import APIRoute
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase
from fastapi.utils import is_body_allowed_for_status_code
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, compile_path

from taskapi.core import json_pieces
from taskapi.core.errors import FieldError, InvalidInput, UnsupportedMediaType, field_errors
from taskapi.web.admission import BODIES, LARGE_BODY_BYTES, Handler, admit, in_turn, takes_turns, work_of
from taskapi.web.negotiation import Negotiated, refuse_codings
from taskapi.web.pagination import PageQuery
from taskapi.web.query_models import parameters, query_model
from taskapi.web.request_state import state_of
from taskapi.web.route_call import RouteCall, answering, scopes_of

Model = TypeVar("Model", bound=BaseModel)

JSON = "application/json"
MAX_MEMBERS = 100  # of the JSON object or form that is a body; each unknown one would cost an error
MAX_ANONYMOUS_BODY_BYTES = 16 * 1024  # of the routes that take callers without a token: sign-in, registration, recovery
MAX_BODY_SECONDS = 5.0  # after a JSON body or form that took longer, the caller is looked up again: the session may have ended
PLACE_SECONDS, PLACE_BYTES_PER_SECOND = 60.0, 16 * 1024  # for JSON that arrives while its request holds a place of a bulkhead
FORM = "application/x-www-form-urlencoded"
CSV = "text/csv"
TYPED_CSV = f"{CSV}; charset=utf-8; header=present"
LOCATION = {"Location": {"description": "The URL of the new resource.", "schema": {"type": "string", "format": "uri-reference"}}}
ATTACHMENT = {"Content-Disposition": {"description": "A file name.", "schema": {"type": "string"}}}


class StrictRequest(Request):
    """A request whose JSON body is read strictly."""

    max_values: int | None = json_pieces.MAX_VALUES

    async def read_in_time(self) -> None:
        """Reads the body. Raises HTTPException (408) if it comes so slowly that it would keep a place from others."""
        parts = []
        try:
            async with asyncio.timeout(PLACE_SECONDS) as limit:
                async for part in self.stream():
                    parts.append(part)
                    limit.reschedule((limit.when() or 0.0) + len(part) / PLACE_BYTES_PER_SECOND)
        except TimeoutError:
            raise HTTPException(408, "The body of the request came too slowly.", {"Connection": "close"}) from None
        self._body = b"".join(parts)

    async def json(self) -> Any:
        """The body.

        Raises:
            MalformedJSON: it is not JSON, or not as ``strict_json`` takes it.
            InvalidInput: it is an object of too many members.
        """
        if not hasattr(self, "_json"):
            self._json = await json_pieces.read_json(await self.body(), max_values=self.max_values)
            if isinstance(self._json, dict):
                _refuse_many(len(self._json))
        return self._json


def _refuse_many(fields: int) -> None:
    if fields > MAX_MEMBERS:
        raise InvalidInput([FieldError("", f"should have at most {MAX_MEMBERS} fields", "too_many_fields")])


def media_type(request: Request) -> str:
    """The request's media type in lower case, without parameters; empty if it has none."""
    value = request.headers.get("content-type", "")
    if value in (JSON, FORM):
        return value
    return _content_type(value).get_content_type() if value else ""


def media_parameter(request: Request, name: str) -> str | None:
    """A parameter of the request's media type in lower case, such as its ``charset``."""
    value = _content_type(request.headers.get("content-type", "")).get_param(name)
    return value.lower() if isinstance(value, str) else None


def _content_type(value: str) -> Message:
    message = Message()
    message["content-type"] = value
    return message


async def read_json(model: type[Model], request: Request) -> Model:
    """The JSON body as ``model``, for a route whose media types have different models.

    Raises:
        InvalidInput: names each wrong field.
    """
    try:
        return model.model_validate(await request.json())
    except ValidationError as error:
        raise InvalidInput(field_errors(error)) from None


def page_headers(path: str, query: PageQuery, total: int) -> dict[str, str]:
    """The headers of a page by number of the list at ``path``: the total, and the links to the other pages."""
    links = query.links(path, total, more=query.start + query.limit < total)
    return {"X-Total-Count": str(total), "Link": links}


def path_to(request: Request, router: APIRouter, name: str, **values: str) -> str:
    """The path of the route ``name`` in ``router``, as callers have to send it."""
    if name not in _formats:
        _formats[name] = next(route.path_format for route in router.routes if isinstance(route, APIRoute) and route.name == name)
    return f"{request.scope.get('root_path', '')}{_formats[name].format(**values)}"


_formats: dict[str, str] = {}  # the paths of routes by their names, which are their operation ids and so unique


def path_id(what: str) -> Any:
    """Documents an id in a path. Its pattern is not validated: the route answers 404 for anything that is not an id."""
    return Path(description=what, json_schema_extra={"pattern": "^[0-9a-fA-F]{24}$"})


def _guards(dependant: Dependant) -> Iterator[tuple[Any, SecurityScopes]]:
    """The security schemes that a route depends on, each with its required scopes."""
    if isinstance(dependant.call, SecurityBase):
        yield dependant.call, SecurityScopes(scopes_of(dependant))
    for each in dependant.dependencies:
        yield from _guards(each)


class StrictRoute(APIRoute):
    """A route that accepts only the media types it documents, answers in those it documents, and reads JSON strictly.

    It authenticates the caller before it reads the body.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        self._handle: Handler
        if not is_body_allowed_for_status_code(options.get("status_code")):
            options["response_class"] = Response  # whose media type is none
        super().__init__(path, endpoint, **options)
        self.app = answering(self._handle)
        if query := query_model(self.dependant):
            extra = self.openapi_extra or {}
            self.openapi_extra = {**extra, "parameters": [*parameters(query[1]), *extra.get("parameters", ())]}
            self.dependant.query_params = []  # which FastAPI would document in another way
        if self.produces:
            self.app = Negotiated(self.app, self.produces)

    @property
    def takes(self) -> tuple[str, ...]:
        """The media types of the body: that of its parameter, and those of the ``requestBody`` in ``openapi_extra``."""
        own = () if self.body_field is None else (FORM if isinstance(self.body_field.field_info, Form) else JSON,)
        documented = (self.openapi_extra or {}).get("requestBody", {}).get("content", {})
        return tuple(dict.fromkeys((*own, *documented)))

    @property
    def is_anonymous(self) -> bool:
        """Whether the route accepts callers without a token."""
        return not any(_guards(self.dependant))

    @property
    def produces(self) -> tuple[str, ...]:
        """The media types of a successful response: that of the response class, and those in ``responses``."""
        status = self.status_code or 200
        if not is_body_allowed_for_status_code(status):
            return ()
        kind = self.response_class
        own = (kind.value if isinstance(kind, DefaultPlaceholder) else kind).media_type
        documented = self.responses.get(status, {}).get("content", {})
        return tuple(dict.fromkeys((*((own,) if own else ()), *documented)))

    def get_route_handler(self) -> Handler:
        """What answers the requests of the route; FastAPI's constructor asks for it once."""
        self._handle = self._handler()
        return self._handle

    def _handler(self) -> Handler:
        """Calls the endpoint, after the caller is let in, and the body's coding, media type and JSON are found right."""
        handle = RouteCall(self)
        expected = self.takes
        if not expected:
            return in_turn(handle) if takes_turns(self.endpoint) else handle
        guards = tuple(_guards(self.dependant))
        work = work_of(self.endpoint)
        max_values = None if work else StrictRequest.max_values  # a bulkhead holds few bodies at once

        async def strict(request: Request) -> Response:
            for guard, scopes in guards:  # FastAPI would run them after it has read the body
                await guard(request, scopes)
            refuse_codings(request.scope)
            kind = media_type(request)
            if kind not in expected:
                raise UnsupportedMediaType(expected)
            strict_request = StrictRequest(request.scope, request.receive)
            strict_request.max_values = max_values
            # Read here, so that errors are ours instead of the framework's 400. The route reads anything else itself.
            if kind == FORM:
                _refuse_many(1 + (await strict_request.body()).count(b"&"))
            elif kind == JSON or kind.endswith("+json"):
                if work:
                    await strict_request.read_in_time()
                if len(await strict_request.body()) >= LARGE_BODY_BYTES and guards and not work:
                    async with admit(BODIES, request):
                        await strict_request.json()
                else:
                    await strict_request.json()
            if guards and time.monotonic() - state_of(request).authenticated_at > MAX_BODY_SECONDS:
                state_of(request).caller = None
            return await handle(strict_request)

        return strict


def anonymous_limits(routers: Iterable[APIRouter], limit: int) -> dict[tuple[str, str], int]:
    """The body limits of routes without authentication, by method and path; ``limit`` is that of all other routes."""
    routes = [route for router in routers for route in router.routes if isinstance(route, StrictRoute)]
    open_to_all = [route for route in routes if route.takes and route.is_anonymous]
    least = min(MAX_ANONYMOUS_BODY_BYTES, limit)
    return {(method, route.path): least for route in open_to_all for method in route.methods or ()}


def paths_in_turn(routers: Iterable[APIRouter]) -> frozenset[str]:
    """The paths of routes whose answers take turns to begin."""
    routes = (route for router in routers for route in router.routes)
    return frozenset(route.path for route in routes if isinstance(route, StrictRoute) and takes_turns(route.endpoint))


def prefer_exact_paths(routes: Iterable[BaseRoute]) -> None:
    """Excludes from each route the paths that a more exact route matches: ``/tasks/export`` is not a task id.

    Otherwise the less exact route would handle every method that the more exact one does not have: ``RouteTable`` leaves those
    to Starlette, which answers 405 with the methods of both.
    """
    patterns = {route.path: compile_path(route.path)[0] for route in routes if isinstance(route, Route)}
    for route in routes:
        if isinstance(route, Route):
            own = patterns[route.path]
            exact = [other for path, other in patterns.items() if own.match(path) and not other.match(route.path)]
            excluded = "".join(f"(?!{other.pattern})" for other in exact)
            route.path_regex = re.compile(re.sub(r"\?P<\w+>", "?:", excluded) + own.pattern)


def strict_router(**options: Any) -> APIRouter:
    """An APIRouter whose routes are strict, and whose operation ids are the names of their functions."""
    return APIRouter(route_class=StrictRoute, generate_unique_id_function=_operation_id, **options)


def _operation_id(route: APIRoute) -> str:
    return route.name
