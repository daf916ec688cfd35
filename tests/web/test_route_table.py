"""The table of routes chooses as Starlette does, which tries one route after another."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from taskapi.main import create_app
from taskapi.web.route_table import RouteTable
from tests.client import is_problem
from tests.conftest import make_settings

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE")
APP = create_app(make_settings())
WORDS = sorted(
    {segment for route in APP.routes if isinstance(route, Route) for segment in route.path.split("/")} | {"", "{}", "é", "."}
)


def of_starlette(routes: list[BaseRoute], method: str, path: str) -> tuple[Any, dict[str, str]]:
    for route in routes:
        match, found = route.matches({"type": "http", "method": method, "path": path, "headers": []})
        if match is Match.FULL:
            return route, found["path_params"]
    return None, {}


@given(st.sampled_from(METHODS), st.lists(st.sampled_from(WORDS), max_size=5))
def test_it_finds_what_starlette_finds(method: str, segments: list[str]) -> None:
    path = "/" + "/".join(segments)
    expected, parameters = of_starlette(APP.routes, method, path)
    route, values = RouteTable(APP.routes, APP.router).find(method, path)
    if isinstance(expected, Route):
        assert (route, values) == (expected, list(parameters.values()))
    else:
        assert route is None  # Starlette is asked


def test_every_route_is_in_it() -> None:
    table = RouteTable(APP.routes, APP.router)
    for route in APP.routes:
        if isinstance(route, Route):
            path = route.path_format.format(**dict.fromkeys(route.param_convertors, "65f1a2b3c4d5e6f708192a3b"))
            assert all(table.find(method, path)[0] is route for method in route.methods or ())


@pytest.mark.parametrize(
    ("method", "path", "status"), [("PURGE", "/tasks", 405), ("GET", "/nowhere", 404), ("GET", "/tasks//", 401)]
)
async def test_what_it_lacks_is_answered_as_before(
    anonymous: httpx.AsyncClient, app: FastAPI, method: str, path: str, status: int
) -> None:
    answer = await anonymous.request(method, path)
    is_problem(answer, status, {401: "not_authenticated", 404: "not_found", 405: "method_not_allowed"}[status])


async def whole(_: Request) -> Response:
    return Response()


@pytest.mark.parametrize("path", ["/files/{name}.json", "/files/{number:int}", "/files/{rest:path}"])
def test_other_paths_are_left_to_starlette(path: str) -> None:
    table = RouteTable([Route(path, whole)], APP.router)
    assert {table.find("GET", tried)[0] for tried in ("/files/1", "/files/a.json", "/files/{name}.json", path)} == {None}
