"""A server with a standalone MongoDB, which has no change streams: it says so, once, and does everything else."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pymongo import MongoClient

from taskapi.core.settings import Settings
from taskapi.db.mongod_program import find_mongod
from tests.conftest import SECRET
from tests.server.process import Server, serving, wait_until
from tests.tools import free_port, running

pytestmark = pytest.mark.real


@pytest.fixture
def port() -> int:
    """That of MongoDB."""
    return free_port()


@pytest.fixture
def standalone(port: int, tmp_path: Path, folder: Path) -> Iterator[Server]:
    data = tmp_path / "standalone"
    data.mkdir()
    command = [str(find_mongod(Settings(_env_file=None))), "--dbpath", str(data), "--port", str(port)]
    with (
        running([*command, "--bind_ip", "127.0.0.1", "--nounixsocket"], tmp_path / "mongod.log", port),
        serving(folder, MONGODB_URI=f"mongodb://127.0.0.1:{port}/", SECRET_KEY=SECRET) as server,
    ):
        yield server


def test_there_are_no_events_and_everything_else(standalone: Server) -> None:
    headers = standalone.account()
    with standalone.client(headers=headers) as client:
        for _ in range(2):
            answer = client.get("/events/stream")
            assert (answer.status_code, answer.json()["error"]) == (501, "change_streams_unsupported")
            assert client.head("/events/stream").status_code == 501
        assert client.post("/tasks", json={"title": "Stored"}).status_code == 201
        assert client.get("/ready").json() == {"status": "ready", "events": "unavailable"}
    assert standalone.output.count("no events") == 1
    assert "Traceback" not in standalone.output


def test_webhooks_from_elsewhere_are_reported_once(standalone: Server, port: int) -> None:
    """They came with a backup of a replica set, for example."""
    with MongoClient[dict[str, object]](f"mongodb://127.0.0.1:{port}/") as mongo:
        mongo["taskapi"]["webhooks"].insert_one({"enabled": True}, bypass_document_validation=True)
    wait_until(lambda: "nothing is sent to webhooks" in standalone.output, "a word about webhooks")
    assert standalone.output.count("nothing is sent to webhooks") == 1
    assert "Traceback" not in standalone.output
