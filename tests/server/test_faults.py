"""The surroundings fail: the power goes, the database goes or hangs. Nothing acknowledged is lost, and it heals."""

import os
import signal
import threading
from pathlib import Path

import httpx
import pytest

from tests.server.process import Server, serving, wait_until

pytestmark = pytest.mark.real


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


class Load:
    """Callers that create tasks as fast as they can, and remember what was acknowledged."""

    def __init__(self, server: Server, headers: dict[str, str], callers: int = 16) -> None:
        self.server, self.headers = server, headers
        self.acknowledged: set[str] = set()
        self.threads = [threading.Thread(target=self.run) for _ in range(callers)]

    def run(self) -> None:
        with self.server.client(headers=self.headers) as client:
            try:
                while True:
                    answer = client.post("/tasks", json={"title": "Acknowledged"})
                    if answer.status_code == 201:
                        self.acknowledged.add(answer.json()["id"])
            except httpx.TransportError:
                return

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self.threads:
            thread.join()


def all_ids(server: Server, headers: dict[str, str]) -> set[str]:
    ids: set[str] = set()
    with server.client(headers=headers) as client:
        while True:
            page = client.get(f"/tasks?limit=100&offset={len(ids)}").json()
            ids |= {task["id"] for task in page}
            if not page:
                return ids


@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_acknowledged_task_is_lost_when_everything_is_killed(folder: Path, workers: str) -> None:
    with serving(folder, "--workers", workers) as server:
        headers = server.account()
        with Load(server, headers) as load:
            wait_until(lambda: len(load.acknowledged) > 200, "some tasks to be acknowledged")
            server.kill_everything()
    with serving(folder) as server:
        assert load.acknowledged <= all_ids(server, headers)


def test_the_database_comes_back_by_itself_when_it_is_killed(folder: Path) -> None:
    with serving(folder) as server, server.client(headers=server.account()) as client:
        task = client.post("/tasks", json={"title": "Before the crash"}).json()
        first = server.mongod()
        os.kill(first, signal.SIGSTOP)  # it answers nothing, as behind a network that drops everything
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: server.members("--dbpath") not in ([], [first]), "another mongod")
        wait_until(lambda: server.status() == 200, "the API to be ready again")
        assert client.get(f"/tasks/{task['id']}").json() == task
        assert "starting it again" in server.output
        assert "Traceback" not in server.output


def test_a_database_that_hangs_is_503_and_then_works_again(folder: Path) -> None:
    with (
        serving(folder, MONGODB_TIMEOUT_MS="1000", MONGODB_SELECTION_TIMEOUT_MS="500") as server,
        server.client(headers=server.account()) as client,
    ):
        os.kill(server.mongod(), signal.SIGSTOP)
        try:
            for answer in (client.get("/tasks"), client.post("/tasks", json={"title": "No answer"})):
                assert (answer.status_code, answer.json()["error"]) == (503, "database_unavailable")
                assert int(answer.headers["retry-after"]) > 0
            unready = client.get("/ready")
            assert (unready.status_code, unready.json()["detail"]) == (503, "MongoDB cannot be reached.")
            assert client.get("/health").status_code == 200
        finally:
            os.kill(server.mongod(), signal.SIGCONT)
        wait_until(lambda: client.get("/tasks").status_code == 200, "the API to answer again")
        assert client.post("/tasks", json={"title": "Works again"}).status_code == 201
        assert "Traceback" not in server.output
