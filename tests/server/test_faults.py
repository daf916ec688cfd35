"""The surroundings fail: the database goes or hangs, and it heals. The power goes in ``test_power.py``."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.server.process import Server, serving, wait_until

pytestmark = pytest.mark.real


def test_killed_database_comes_back_by_itself(server: Server) -> None:
    with server.client(headers=server.account()) as client:
        task = client.post("/tasks", json={"title": "Before the crash"}).json()
        first = server.mongod()
        os.kill(first, signal.SIGSTOP)  # it answers nothing, as behind a network that drops everything
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: server.members("--dbpath") not in ([], [first]), "another mongod")
        wait_until(lambda: server.status() == 200, "the API to be ready again")
        assert client.get(f"/tasks/{task['id']}").json() == task
    assert "restarting it" in server.output
    assert "Traceback" not in server.output


def test_hanging_database_answers_503_then_recovers(folder: Path) -> None:
    with (
        serving(folder, MONGODB_TIMEOUT_MS="3000", MONGODB_SELECTION_TIMEOUT_MS="2000") as server,
        server.client(headers=server.account()) as client,
    ):
        os.kill(server.mongod(), signal.SIGSTOP)
        try:
            with ThreadPoolExecutor() as threads:
                waiting = [threads.submit(client.get, path) for path in ("/tasks", "/tasks/export")]
                waiting.append(threads.submit(client.post, "/tasks", json={"title": "No answer"}))
            for answer in (future.result() for future in waiting):
                assert (answer.status_code, answer.json()["error"]) == (503, "database_unavailable")
                assert int(answer.headers["retry-after"]) > 0
            unready = client.get("/ready")
            assert (unready.status_code, unready.json()["detail"]) == (503, "MongoDB cannot be reached.")
            assert client.get("/health").status_code == 200
        finally:
            os.kill(server.mongod(), signal.SIGCONT)
        wait_until(lambda: client.get("/tasks").status_code == 200, "the API to answer again")
        wait_until(lambda: client.get("/tasks/export").status_code == 200, "exports to work again")
        assert client.post("/tasks", json={"title": "Works again"}).status_code == 201
        assert "Traceback" not in server.output
