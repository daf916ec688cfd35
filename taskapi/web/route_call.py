"""Calling the function of a route: what FastAPI knows of its parameters, put in order once.

FastAPI goes through the dependencies of a route with each request, prepared for all that a parameter can be. The routes here
take the request, texts of the path, one query model, one body, and dependencies that take no more than the request. A loop is
enough for those, and saves a short request a fifth of its time.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_body_to_args
from fastapi.exceptions import RequestValidationError
from fastapi.params import Form
from fastapi.routing import APIRoute, serialize_response
from fastapi.security import SecurityScopes
from pydantic_core import PydanticUndefined
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from taskapi.core.errors import InvalidInput
from taskapi.web.query_models import query_model, read_query

SELECTIONS = ("include", "exclude", "exclude_unset", "exclude_defaults", "exclude_none")  # of FastAPI's response_model_…


class Pending(ABC):
    """What a dependency gives before it is certain: the endpoint waits for it, and can do something else meanwhile."""

    @abstractmethod
    async def settle(self) -> Any:
        """Waits for what the dependency stands for. Raises what the dependency would have raised."""


@dataclass(frozen=True, slots=True)
class _Step:
    """One function to call: a dependency, or last of all the endpoint."""

    call: Callable[..., Awaitable[Any]]
    constants: Mapping[str, Any]
    request: str | None  # the parameter that takes it
    response: str | None
    path: tuple[str, ...]  # the parameters that take texts of the path
    results: tuple[tuple[str, int], ...]  # those that take what earlier steps gave, by the numbers of the steps

    def arguments(self, request: Request, response: Response | None, given: list[Any]) -> dict[str, Any]:
        """What the function is called with."""
        arguments = dict(self.constants)
        if self.request is not None:
            arguments[self.request] = request
        if self.response is not None:
            arguments[self.response] = response
        for name in self.path:
            arguments[name] = request.path_params[name]
        for name, number in self.results:
            arguments[name] = given[number]
        return arguments


class RouteCall:
    """The handler of a route: calls what it depends on, each once, then its endpoint; the answer is the endpoint's.

    An endpoint without a response model answers with a ``Response``, or with no content.

    Raises TypeError at once for a route with a parameter of another kind, or with a function that is no coroutine function.
    """

    def __init__(self, route: APIRoute) -> None:
        if any(getattr(route, f"response_model_{name}") for name in SELECTIONS):
            raise TypeError(f"{route.path}: the response model says what an answer holds")
        self._route = route
        self._steps: list[_Step] = []
        self._numbers: dict[Hashable, int] = {}
        self._endpoint = self._step(route.dependant)
        self._query = query_model(route.dependant)
        self._is_form = route.body_field is not None and isinstance(route.body_field.field_info, Form)
        self._has_headers = any(step.response for step in (*self._steps, self._endpoint))

    def _step(self, dependant: Dependant) -> _Step:
        call = dependant.call
        if call is None or not self._is_supported(dependant):
            raise TypeError(f"{self._route.path}: {call} is no coroutine function, or has a parameter of another kind")
        constants: dict[str, Any] = {}
        if dependant.security_scopes_param_name:
            constants[dependant.security_scopes_param_name] = SecurityScopes(scopes_of(dependant))
        results = tuple(self._results(dependant))
        path = tuple(field.name for field in dependant.path_params)
        return _Step(call, constants, dependant.request_param_name, dependant.response_param_name, path, results)

    def _is_supported(self, dependant: Dependant) -> bool:
        is_coroutine = iscoroutinefunction(dependant.call) or iscoroutinefunction(getattr(dependant.call, "__call__", None))  # noqa: B004
        others = (
            dependant.header_params,
            dependant.cookie_params,
            dependant.background_tasks_param_name,
            dependant.http_connection_param_name,
            dependant.websocket_param_name,
        )
        own = [*dependant.query_params, *dependant.body_params]  # of the endpoint: one model each
        is_misplaced = bool(own) if dependant is not self._route.dependant else len(dependant.body_params) > 1
        is_text = all(field.field_info.annotation is str and not field.field_info.metadata for field in dependant.path_params)
        return is_coroutine and is_text and not is_misplaced and not any(others)

    def _results(self, dependant: Dependant) -> Iterator[tuple[str, int]]:
        for each in dependant.dependencies:
            key = (each.call, *(scopes_of(each) if _uses_scopes(each) else ()))
            if key not in self._numbers:
                step = self._step(each)
                self._numbers[key] = len(self._steps)
                self._steps.append(step)
            if each.name is not None:
                yield each.name, self._numbers[key]

    async def __call__(self, request: Request) -> Response:
        """Answers one request.

        Raises:
            RequestValidationError: the body is not valid.
            InvalidInput: the query is not.
            Exception: whatever a dependency or the endpoint raises.
        """
        route = self._route
        response = Response(status_code=route.status_code or 200) if self._has_headers else None
        given: list[Any] = []
        for step in self._steps:
            given.append(await step.call(**step.arguments(request, response, given)))
        arguments = self._endpoint.arguments(request, response, given)
        if route.dependant.body_params:
            arguments |= await self._body(request)
        if self._query is not None:
            name, model = self._query
            try:
                arguments[name] = read_query(model, request)
            except InvalidInput:
                for pending in given:  # a caller who may not call at all is told that first
                    if isinstance(pending, Pending):
                        await pending.settle()
                raise
        result = await self._endpoint.call(**arguments)
        if isinstance(result, Response):
            return result
        status = response.status_code if response is not None else route.status_code or 200
        if route.response_field is None:
            answer = Response(status_code=status)
        else:
            content = await serialize_response(field=route.response_field, response_content=result, dump_json=True)
            answer = Response(content, status, media_type="application/json")
        if response is not None:
            answer.raw_headers.extend(pair for pair in response.raw_headers if pair[0] != b"content-length")
        return answer

    async def _body(self, request: Request) -> dict[str, Any]:
        body: Any = PydanticUndefined
        if self._is_form:
            body = await request.form()
        elif await request.body():
            body = await request.json()
        values, errors = await request_body_to_args(
            body_fields=self._route.dependant.body_params, received_body=body, embed_body_fields=False
        )
        if errors:
            raise RequestValidationError(errors, body=body)
        return values


def scopes_of(dependant: Dependant) -> list[str]:
    """The OAuth scopes that a dependency is to require, each once."""
    return list(dict.fromkeys((*(dependant.parent_oauth_scopes or ()), *(dependant.own_oauth_scopes or ()))))


def _uses_scopes(dependant: Dependant) -> bool:
    return dependant.security_scopes_param_name is not None or any(map(_uses_scopes, dependant.dependencies))


def answering(handle: Callable[[Request], Awaitable[Response]]) -> ASGIApp:
    """The application of a route that ``handle`` answers. Its exceptions are for the application's handlers."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        response = await handle(Request(scope, receive))
        await response(scope, receive, send)

    return answer
