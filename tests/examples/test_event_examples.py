"""Each example that follows events keeps a copy of an account: while the server dies, while it is slow, and after it was away."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.examples.followers import Followed
from tests.examples.tables import EXAMPLES
from tests.server.process import Server, serving, wait_until
from tests.tools import PATIENCE_SECONDS, free_port

pytestmark = pytest.mark.real

NAMES = sorted(path.stem for path in EXAMPLES.glob("events_*.py"))
MAX_LINES = 70
SEEDED = 250


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("events") / "data") as server:
        yield server


def account(example: str, folder: Path, server: Server) -> Followed:
    """An account with some tasks."""
    followed = Followed(example, folder, server)
    with followed.client(server) as client:
        make(client, SEEDED)
    return followed


@pytest.fixture(params=NAMES)
def followed(request: pytest.FixtureRequest, tmp_path: Path, server: Server) -> Followed:
    return account(request.param, tmp_path, server)


def make(client: httpx.Client, count: int, **fields: str) -> None:
    lines = "\n".join(json.dumps({"title": f"Task {number}", **fields}) for number in range(count))
    answer = client.post("/tasks/import", content=lines, headers={"Content-Type": "application/jsonl"})
    assert answer.json()["created"] == count, answer.text


def change(client: httpx.Client) -> None:
    """A change of each kind."""
    first, second, third, *_ = (f"/tasks/{task['id']}" for task in client.get("/tasks").json())
    assert client.post("/tasks", json={"title": "Another task"}).status_code == 201
    assert client.patch(first, json={"status": "done", "tags": ["a"]}).status_code == 200
    for path in (second, third):
        assert client.delete(path).status_code == 204
    assert client.post(f"{second}/restore").status_code == 200
    assert client.delete(third.replace("/tasks", "/trash")).status_code == 204


def test_these_examples_are_short() -> None:
    assert NAMES == ["events_httpx_sse", "events_websockets"]
    for name in NAMES:
        assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= MAX_LINES, name


def test_the_copy_follows(followed: Followed, server: Server) -> None:
    """At once, after the example was away, and after it was away for too long."""
    with followed.client(server) as client:
        with followed.following(server):
            followed.is_copied(server)
            assert len(followed.copy) == SEEDED
            change(client)
            followed.is_copied(server)
        change(client)
        with followed.following(server):
            followed.is_copied(server)
        assert followed.printed == ""
        change(client)
        followed.age(server, days=100)
        with followed.following(server):
            followed.is_copied(server)
            wait_until(lambda: "begins anew" in followed.printed, "the example to say that it was away for too long")


@pytest.mark.parametrize("example", NAMES)
def test_the_copy_survives_the_server(example: str, tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path / "data", port=port) as server:
        followed = account(example, tmp_path, server)
        with followed.following(server):
            followed.is_copied(server)
            server.kill_everything()
            wait_until(lambda: "tries again" in followed.printed, "the example to notice")
            with serving(server.folder, port=port) as again, followed.client(again) as client:
                change(client)
                followed.is_copied(again)


def test_a_slow_example_begins_anew(followed: Followed, server: Server) -> None:
    with followed.client(server) as client, followed.following(server) as process:
        followed.is_copied(server)
        process.send_signal(signal.SIGSTOP)
        make(client, 5000, description="x" * 2000)
        process.send_signal(signal.SIGCONT)
        wait_until(lambda: "begins anew" in followed.printed, "the example to say that it was too slow")
        followed.is_copied(server)


def test_an_example_ends_without_its_token(followed: Followed, server: Server) -> None:
    with followed.client(server) as client:
        (token,) = client.get("/users/me/tokens").json()
        assert client.delete(f"/users/me/tokens/{token['id']}").status_code == 204
    with pytest.raises(AssertionError, match="401"), followed.following(server) as process:
        process.wait(PATIENCE_SECONDS)
