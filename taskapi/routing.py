"""How every route reads its request: strict about the media type, the JSON and the query parameters."""

import json
from collections.abc import Callable, Coroutine
from email.message import Message
from typing import Any, NoReturn

from fastapi import APIRouter, Request
from fastapi.params import Form
from fastapi.routing import APIRoute
from starlette.responses import Response

from taskapi.errors import Fault, InvalidInput, MalformedJSON, UnsupportedMediaType

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


class StrictRequest(Request):
    """A request whose JSON is read as RFC 8259 has it."""

    async def json(self) -> Any:
        """The body. Raises MalformedJSON; its detail never repeats the input."""
        if not hasattr(self, "_json"):
            try:
                self._json = json.loads(await self.body(), parse_constant=_refuse)
            except json.JSONDecodeError as error:
                raise MalformedJSON(f"The body is not valid JSON: {error.msg} at character {error.pos}.") from None
            except RecursionError:
                raise MalformedJSON("The body is nested too deeply.") from None
            except ValueError:  # not UTF-8, NaN or Infinity, or a number of thousands of digits
                raise MalformedJSON from None
        return self._json


def media_type(request: Request) -> str:
    """The request's media type in lower case, without parameters; empty when it names none."""
    value = request.headers.get("content-type", "")
    if value in (JSON, FORM):
        return value
    message = Message()
    message["content-type"] = value
    return message.get_content_type() if value else ""


def _check_repeats(request: Request) -> None:
    names = [name for name, _ in request.query_params.multi_items()]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InvalidInput([Fault(name, "was given more than once", "repeated_parameter") for name in repeated])


class StrictRoute(APIRoute):
    """A route that takes exactly one media type, and each query parameter once."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        expected: str | None = None
        if self.body_field is not None:
            expected = FORM if isinstance(self.body_field.field_info, Form) else JSON

        async def strict(request: Request) -> Response:
            if expected and media_type(request) != expected:
                raise UnsupportedMediaType(expected)
            if request.scope["query_string"]:
                _check_repeats(request)
            strict_request = StrictRequest(request.scope, request.receive)
            if expected == JSON:
                await strict_request.json()  # here, so that its errors are ours and not the framework's 400
            return await handle(strict_request)

        return strict


def router(**options: Any) -> APIRouter:
    """An APIRouter whose routes are strict."""
    return APIRouter(route_class=StrictRoute, **options)
