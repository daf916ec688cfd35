"""Addresses that are too long: a clear answer, over the wire and to a browser."""

import json
from collections.abc import Iterator

import httpx
import pytest

from taskapi.web.middleware import MAX_TARGET_BYTES
from tests.client import is_problem
from tests.server.process import Server

pytestmark = pytest.mark.real

ORIGIN = "http://localhost:3000"
SENTENCE = "The URL is too long. Send long filters to POST /tasks/search."


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client(headers={**server.account(), "Origin": ORIGIN}) as client:
        yield client


def call(client: httpx.Client, method: str, target: str) -> httpx.Response:
    """The answer to a request for ``target``, which httpx would refuse to send as an address."""
    return client.request(method, "/", json={"title": "Long"}, extensions={"target": target.encode()})


@pytest.mark.parametrize("size", [MAX_TARGET_BYTES + 2, 65_535, 65_536, 70_000, 1_000_000])
@pytest.mark.parametrize("path", ["/tasks?q=", "/tasks?completed=true&tag=", "/tasks/?x="])
def test_a_long_address_is_refused_as_a_problem(client: httpx.Client, server: Server, size: int, path: str) -> None:
    for method in ("GET", "DELETE", "POST"):
        answer = call(client, method, path.ljust(size, "a"))
        is_problem(answer, 414, "uri_too_long", SENTENCE)
        assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert call(client, "HEAD", path.ljust(size, "a")).status_code == 414
    assert client.get("/health").status_code == 200  # on the same connection
    assert "Traceback" not in server.output


@pytest.mark.parametrize("path", ["/nowhere/", "/tasks/", "/tasks/%"])
def test_a_long_path_is_refused_alike(client: httpx.Client, path: str) -> None:
    for size in (MAX_TARGET_BYTES + 1, 70_000):
        is_problem(call(client, "GET", path.ljust(size, "a")), 414, "uri_too_long")
    assert call(client, "GET", path.ljust(MAX_TARGET_BYTES, "a")).status_code == 404


@pytest.mark.parametrize("host", ["a", "a" * 60_000])
def test_long_target_is_never_cut_to_valid_one(client: httpx.Client, host: str) -> None:
    task = client.post("/tasks", json={"title": "Stays", "status": "done"}).json()
    is_problem(call(client, "DELETE", f"http://{host}/tasks?completed=true&tag=".ljust(70_000, "x")), 414, "uri_too_long")
    assert client.get(f"/tasks/{task['id']}").status_code == 200


def test_an_address_of_the_longest_parameters_is_taken(client: httpx.Client) -> None:
    idea = "\U0001f4a1"
    where = json.dumps({"$and": [{"title": {"$ne": idea * 190}}] * 9}, ensure_ascii=False)
    query = {"where": where, "q": idea * 200, "fields": ",".join(["title"] * 160), "sort": "-priority,due_date"}
    answer = client.get("/tasks", params=query)
    assert (answer.status_code, len(answer.request.url.raw_path) > 24_000) == (200, True), answer.text
    assert call(client, "GET", "/health?".ljust(MAX_TARGET_BYTES + 1, "a")).status_code == 200  # the question mark is not counted
