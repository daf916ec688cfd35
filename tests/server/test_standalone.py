"""A server with a standalone MongoDB, which has no change streams: it says so, once, and does everything else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from taskapi.core.settings import Settings
from taskapi.db.mongod_program import find_mongod
from tests.conftest import SECRET
from tests.server.process import Server, serving
from tests.tools import free_port, running

pytestmark = pytest.mark.real


@pytest.fixture
def standalone(tmp_path: Path, folder: Path) -> Iterator[Server]:
    port, data = free_port(), tmp_path / "standalone"
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
