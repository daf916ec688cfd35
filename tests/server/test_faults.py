"""The surroundings fail: the power goes, the database goes or hangs. Nothing acknowledged is lost, and it heals."""

import os
import signal
from pathlib import Path

import httpx
import pytest

from tests.server.process import Server, calling, serving, wait_until

pytestmark = pytest.mark.real


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


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
        acknowledged: set[str] = set()

        def create(client: httpx.Client, title: str) -> None:
            answer = client.post("/tasks", json={"title": f"Task {title}"})
            if answer.status_code == 201:
                acknowledged.add(answer.json()["id"])

        with calling(server, headers, create):
            wait_until(lambda: len(acknowledged) > 200, "some tasks to be acknowledged")
            server.kill_everything()
    with serving(folder) as server:
        assert acknowledged <= all_ids(server, headers)


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
