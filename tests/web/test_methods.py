"""HEAD and OPTIONS, on every route there is."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.middleware import Middleware
from starlette.responses import Response, StreamingResponse
from starlette.routing import Match, Route

from taskapi.web.error_handling import UnexpectedErrors
from taskapi.web.methods import HeadMiddleware
from taskapi.web.routing import prefer_exact_paths
from tests.client import Account, is_problem, make_admin, signed_in
from tests.tools import PATIENCE_SECONDS
from tests.walk import calls

PATCHES = "application/json"
CHANGING = {"x-process-time-ms", "ratelimit-remaining", "ratelimit-reset"}  # from one answer to the next
ASSET = "/docs/assets/swagger-ui.css"


def paths(app: FastAPI, any_id: str) -> list[str]:
    return sorted({path for _, _, path in calls(app, any_id)})


def shown(answer: httpx.Response) -> tuple[int, dict[str, str]]:
    return answer.status_code, {name: value for name, value in answer.headers.items() if name not in CHANGING}


async def raw(app: FastAPI, method: str, path: str, headers: dict[str, str] | None = None, version: str = "2.4") -> list[Any]:
    """The messages that ``app`` sends; the caller stays until the answer is complete."""
    sent: list[Any] = []
    requests = iter([{"type": "http.request", "body": b""}])
    never = asyncio.Event()

    async def receive() -> Any:
        return next(requests, None) or await never.wait()

    async def send(message: Any) -> None:
        assert not sent or sent[-1].get("more_body", True), "after the end"
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "client": None}
    fields = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    about = {"asgi": {"version": "3.0", "spec_version": version}, "root_path": "", "scheme": "http", "server": None}
    await app({**scope, **about, "headers": fields}, receive, send)
    return sent


async def test_head_is_get_without_content_on_every_route(app: FastAPI, ada: Account) -> None:
    task = await ada.make_task()
    statuses = set()
    for path in [*paths(app, task["id"]), *paths(app, "nobody"), "/nowhere", ASSET, f"{ASSET}x", "/tasks/", "/tasks?limit=x"]:
        for headers in ({}, ada.headers, {"Accept": "image/png"}, {**ada.headers, "If-None-Match": "*", "Origin": "http://a.b"}):
            fixed = {"X-Request-ID": "same", **headers}
            get = await ada.client.get(path, headers=fixed)
            head = await ada.client.head(path, headers=fixed)
            assert shown(head) == shown(get), path
            assert head.content == b""
            statuses.add(head.status_code)
    assert statuses >= {200, 304, 401, 404, 405, 406, 422}


@pytest.mark.real
async def test_head_sends_no_content_itself(app: FastAPI, ada: Account) -> None:
    for path in (*paths(app, "nobody"), ASSET, "/nowhere"):
        start, *rest = await raw(app, "HEAD", path, ada.headers)
        assert start["type"] == "http.response.start"
        assert [message.get("body", b"") for message in rest] == [b""]


async def test_the_log_says_head(anonymous: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "taskapi.access"):
        await anonymous.head("/health")
    assert [record.__dict__["fields"]["method"] for record in caplog.records if record.name == "taskapi.access"] == ["HEAD"]


@pytest.mark.parametrize("version", ["2.0", "2.3", "2.4"])
@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_stream_is_not_run_to_its_end(kind: str, version: str, caplog: pytest.LogCaptureFixture) -> None:
    made: list[int] = []
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            for number in range(100_000):
                made.append(number)
                yield b"x" * 100
        finally:
            closed.set()

    def endless_too() -> Iterator[bytes]:
        for number in range(100_000):
            made.append(number)
            yield b"x" * 100

    app = FastAPI(middleware=[Middleware(UnexpectedErrors), Middleware(HeadMiddleware)])

    @app.get("/export")
    async def export() -> StreamingResponse:
        return StreamingResponse(endless() if kind == "async" else endless_too(), headers={"ETag": '"1"'})

    with caplog.at_level(logging.DEBUG, "taskapi"):
        start, *rest = await raw(app, "HEAD", "/export", version=version)
    assert (start["status"], (b"etag", b'"1"') in start["headers"]) == (200, True)
    assert [message.get("body", b"") for message in rest] == [b""]
    assert len(made) < 10
    if kind == "async":
        async with asyncio.timeout(PATIENCE_SECONDS):
            await closed.wait()
    assert caplog.records == []


async def test_an_error_under_head_is_still_an_error(caplog: pytest.LogCaptureFixture) -> None:
    app = FastAPI(middleware=[Middleware(UnexpectedErrors), Middleware(HeadMiddleware)])

    @app.get("/broken")
    async def broken() -> None:
        raise OSError("disk")

    start, *_ = await raw(app, "HEAD", "/broken")
    assert start["status"] == 500
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_options_lists_exactly_the_methods_of_routes(app: FastAPI, anonymous: httpx.AsyncClient) -> None:
    takes: dict[str, set[str]] = {}
    for _, method, path in calls(app, "nobody"):
        takes.setdefault(path, {"OPTIONS"}).add(method)
    for path in takes:
        answer = await anonymous.options(path, headers={"Accept": "image/png", "Origin": "http://localhost:3000"})
        assert (answer.status_code, answer.content) == (204, b""), path
        allowed = set(answer.headers["allow"].split(", "))
        assert allowed == takes[path] | ({"HEAD"} if "GET" in takes[path] else set()), path
        assert ("accept-patch" in answer.headers) == ("PATCH" in allowed)
        refused = await anonymous.request("TRACE", path)
        is_problem(refused, 405, "method_not_allowed")
        assert refused.headers["allow"] == answer.headers["allow"]
        for method in {"DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"} - allowed:
            refused = await anonymous.request(method, path)
            assert (refused.status_code, refused.headers["allow"]) == (405, answer.headers["allow"]), (method, path)
        for method in allowed:
            assert (await anonymous.request(method, path)).status_code != 405, (method, path)


async def test_literal_paths_are_not_taken_as_ids(app: FastAPI, ada: Account) -> None:
    routes = [route for route in app.routes if isinstance(route, Route)]
    for path in {route.path for route in routes if "{" not in route.path}:
        asked = {"type": "http", "method": "GET", "path": path}
        assert {route.path for route in routes if route.matches(asked)[0] != Match.NONE} == {path}
    for path in ("/tasks/bulk", "/tasks/import", "/tasks/search"):
        for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE"):
            answer = await ada.call(method, path, json={})
            assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS, POST"), (method, path)
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = await ada.call(method, "/tasks/export", json={})
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS"), method
    is_problem(await ada.call("DELETE", "/users/me/sessions"), 405, "method_not_allowed")
    for path in ("/tasks/exports", "/tasks/bulk2", "/tasks/Export", "/tasks/bul", "/users/me2/sessions"):  # and these are ids
        assert "DELETE" in (await ada.client.options(path)).headers["allow"]


async def test_more_exact_paths_win_wherever_they_stand() -> None:
    def answer(name: str) -> Any:
        async def say() -> str:
            return name

        return say

    paths = ["/a/{x}", "/a/{x}/{y}", "/{z}/b/c", "/a/b", "/a/b/{y}", "/a/{x}/c"]
    app = FastAPI()
    for path in paths:
        app.add_api_route(path, answer(path))
    app.add_api_route("/a/post", answer("/a/post"), methods=["POST"])
    for _ in range(2):  # applications share the routes of modules
        prefer_exact_paths(app.routes)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://a") as client:
        for path, route in {
            "/a/b": "/a/b",
            "/a/bb": "/a/{x}",
            "/a/b/z": "/a/b/{y}",
            "/a/z/c": "/a/{x}/c",
            "/a/z/z": "/a/{x}/{y}",
            "/z/b/c": "/{z}/b/c",
        }.items():
            assert (await client.get(path)).json() == route
        assert (await client.get("/a/post")).status_code == 405


async def test_an_answer_without_content_has_no_content_type(app: FastAPI, ada: Account, bob: Account) -> None:
    task, other = await ada.make_task(), await signed_in(ada.client, ada)
    token = (await ada.post("/users/me/tokens", json={"name": "a", "scopes": ["tasks:read"]})).json()["id"]
    sessions = (await ada.get("/users/me/sessions")).json()
    ended = next(session["id"] for session in sessions if not session["current"])
    admin = await make_admin(ada.client, "grace")
    for caller, method, path in [
        (ada, "DELETE", f"/tasks/{task['id']}"),
        (ada, "DELETE", f"/trash/{task['id']}"),
        (ada, "DELETE", f"/users/me/tokens/{token}"),
        (ada, "DELETE", f"/users/me/sessions/{ended}"),
        (admin, "DELETE", f"/users/{bob.id}/sessions"),
        (await signed_in(ada.client, ada), "POST", "/logout"),
        (ada, "POST", "/logout/all"),
        (other, "OPTIONS", "/tasks"),
    ]:
        answer = await caller.call(method, path)
        assert (answer.status_code, answer.content) == (204, b""), path
        assert not {"content-type", "content-length", "transfer-encoding"} & set(answer.headers), path
    empty = [route for route in app.routes if isinstance(route, APIRoute) and route.status_code == 204]
    assert {route.response_class for route in empty} == {Response}  # the others as well, which need a mail or a code


async def test_options_ignores_a_trailing_slash_and_a_body(anonymous: httpx.AsyncClient) -> None:
    plain = await anonymous.options("/tasks")
    assert shown(await anonymous.options("/tasks/"))[1]["allow"] == plain.headers["allow"]
    assert (await anonymous.request("OPTIONS", "/tasks", content=b"{", headers={"Content-Type": "text/plain"})).status_code == 204


@pytest.mark.parametrize(
    "path", ["/nowhere", "/tasks/1/2/3", "/docs/assets/nothing.js", "/docs/assets/../../main.py", "/docs/assets/tasks"]
)
@pytest.mark.parametrize("method", ["OPTIONS", "HEAD", "POST"])
async def test_an_unknown_address_has_no_options(anonymous: httpx.AsyncClient, method: str, path: str) -> None:
    assert (await anonymous.request(method, path)).status_code == 404


async def test_docs_files_accept_get_and_head(anonymous: httpx.AsyncClient) -> None:
    answer = await anonymous.options(ASSET)
    assert (answer.status_code, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    assert (await anonymous.post(ASSET)).headers["allow"] == "GET, HEAD, OPTIONS"


async def test_accept_patch_is_sent_by_options_and_415(ada: Account) -> None:
    task = await ada.make_task()
    for path in (f"/tasks/{task['id']}", "/users/me"):
        formats = (await ada.client.options(path)).headers["accept-patch"]
        assert PATCHES in re.split(", ", formats)
        answer = await ada.patch(path, content=b"a", headers={"Content-Type": "text/plain"})
        is_problem(answer, 415, "unsupported_media_type")
        assert answer.headers["accept-patch"] == formats
    answer = await ada.post("/tasks", content=b"a", headers={"Content-Type": "text/plain"})
    assert "accept-patch" not in answer.headers


async def test_a_browser_may_use_head_from_another_site(anonymous: httpx.AsyncClient) -> None:
    ask = {"Origin": "http://localhost:3000", "Access-Control-Request-Headers": "authorization"}
    for method in ("HEAD", "OPTIONS", "PATCH"):
        answer = await anonymous.options("/tasks", headers={**ask, "Access-Control-Request-Method": method})
        assert answer.status_code == 200, method
