"""Routes that are called by a plan answer as FastAPI's own do; what the plan has no place for is refused at once."""

from collections.abc import Callable, Iterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, BackgroundTasks, Body, Cookie, Depends, FastAPI, Form, Header, Path, Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import SecurityScopes
from pydantic import BaseModel
from starlette.requests import HTTPConnection

from taskapi.web.route_call import RouteCall, answering

called: list[str] = []


class PlannedRoute(APIRoute):
    """One that is called by a plan."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.app = answering(self.get_route_handler())

    def get_route_handler(self) -> Any:
        return RouteCall(self)


class Item(BaseModel):
    name: str
    size: int = 1


class Label(BaseModel):
    name: str


class Letter(BaseModel):
    text: str
    copies: int = 1


async def first(request: Request) -> str:
    called.append("first")
    return request.headers.get("x-first", "none")


async def second(one: Annotated[str, Depends(first)], response: Response) -> str:
    called.append("second")
    response.headers["X-Second"] = one
    return f"second after {one}"


async def scoped(needed: SecurityScopes, one: Annotated[str, Depends(first)]) -> str:
    called.append(f"scoped {needed.scope_str}")
    return f"{needed.scope_str} {one}"


def declare(router: APIRouter) -> None:
    @router.get("/things/{thing}/parts/{part}")
    async def read_part(
        thing: str,
        part: str,
        two: Annotated[str, Depends(second)],
        one: Annotated[str, Depends(first)],
        reader: Annotated[str, Security(scoped, scopes=["read"])],
        writer: Annotated[str, Security(scoped, scopes=["write", "read"])],
    ) -> list[str]:
        return [thing, part, one, two, reader, writer]

    @router.post("/items", status_code=201, response_model=Label)
    async def create_item(item: Item, response: Response) -> Item:
        response.headers["Location"] = f"/items/{item.name}"
        return item

    @router.put("/items", response_model=Label)
    async def put_item(item: Item, response: Response) -> Item:
        response.status_code = 202
        return item

    @router.post("/letters")
    async def send_letter(letter: Annotated[Letter, Form()]) -> dict[str, Any]:
        return {"text": letter.text, "copies": letter.copies}

    @router.delete("/items/{name}", status_code=204, response_class=Response)
    async def delete_item(name: str) -> None:
        called.append(f"deleted {name}")

    @router.get("/plain")
    async def plain() -> Response:
        return Response("plain", 203, {"X-Plain": "yes"}, "text/plain")


def application(route_class: type[APIRoute]) -> FastAPI:
    app = FastAPI()
    router = APIRouter(route_class=route_class)
    declare(router)
    app.include_router(router)
    return app


CALLS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("GET", "/things/a%20b/parts/%C3%A9", {"headers": {"X-First": "1"}}),
    ("GET", "/things/a/parts/b", {}),
    ("POST", "/items", {"json": {"name": "pen", "size": 3}}),
    ("POST", "/items", {"json": {"name": "pen", "size": "large"}}),
    ("POST", "/items", {"json": ["pen"]}),
    ("POST", "/items", {"json": None}),
    ("POST", "/items", {}),
    ("PUT", "/items", {"json": {"name": "pen"}}),
    ("POST", "/letters", {"data": {"text": "hello", "copies": "2"}}),
    ("POST", "/letters", {"data": {"copies": "many"}}),
    ("POST", "/letters", {}),
    ("DELETE", "/items/pen", {}),
    ("GET", "/plain", {}),
)


@pytest.mark.parametrize(("method", "path", "sent"), CALLS)
async def test_a_planned_route_answers_as_fastapi_does(method: str, path: str, sent: dict[str, Any]) -> None:
    answers, calls = [], []
    for route_class in (APIRoute, PlannedRoute):
        called.clear()
        transport = httpx.ASGITransport(application(route_class))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answer = await client.request(method, path, **sent)
        answers.append((answer.status_code, answer.content, sorted(answer.headers.items())))
        calls.append(list(called))
    assert answers[0] == answers[1]
    assert calls[0] == calls[1]


async def takes_header(x: Annotated[str, Header()] = "") -> None: ...


async def takes_cookie(x: Annotated[str, Cookie()] = "") -> None: ...


async def takes_background(tasks: BackgroundTasks) -> None: ...


async def takes_connection(connection: HTTPConnection) -> None: ...


async def takes_two_bodies(one: Annotated[Item, Body()], two: Annotated[Label, Body()]) -> None: ...


async def takes_query(x: int = 1) -> None: ...


async def takes_body(item: Item) -> None: ...


async def takes_number(number: int) -> None: ...


async def takes_short_text(number: Annotated[str, Path(max_length=3)]) -> None: ...


def is_plain() -> None: ...


def yields() -> Iterator[None]:
    yield


@pytest.mark.parametrize(
    "endpoint", [takes_header, takes_cookie, takes_background, takes_connection, takes_two_bodies, takes_query, is_plain]
)
def test_an_endpoint_that_asks_for_more_is_refused(endpoint: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="/path"):
        PlannedRoute("/path", endpoint, methods=["POST"])


@pytest.mark.parametrize("endpoint", [takes_number, takes_short_text])
def test_a_path_is_made_of_texts(endpoint: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="/path"):
        PlannedRoute("/path/{number}", endpoint)


def test_a_selection_of_the_response_model_is_refused() -> None:
    with pytest.raises(TypeError, match="/path"):
        PlannedRoute("/path", takes_body, response_model=Item, response_model_exclude={"size"})


@pytest.mark.parametrize("dependency", [takes_header, takes_background, takes_query, takes_body, is_plain, yields])
def test_a_dependency_that_asks_for_more_is_refused(dependency: Callable[..., Any]) -> None:
    async def endpoint(value: Annotated[Any, Depends(dependency)]) -> None: ...

    with pytest.raises(TypeError, match="/path"):
        PlannedRoute("/path", endpoint, methods=["POST"])
