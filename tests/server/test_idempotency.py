"""The power goes while keyed requests run. Each is repeated until it is answered: every task is there once."""

import itertools
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo import MongoClient

from tests.server.process import PATIENCE_SECONDS, Server, serving, wait_until

pytestmark = pytest.mark.real

CALLERS = 16


class KeyedLoad:
    """Callers that create tasks, each under a key that is its title too, until the server is gone."""

    def __init__(self, server: Server, headers: dict[str, str]) -> None:
        self.server, self.headers = server, headers
        self.sent: set[str] = set()
        self.answers: dict[str, str] = {}  # the id of the task that each key was answered with
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(CALLERS)]

    def run(self, caller: int) -> None:
        with self.server.client(headers=self.headers) as client:
            try:
                for number in itertools.count():
                    key = f"key-{caller}-{number}"
                    self.sent.add(key)
                    answer = post(client, key)
                    assert answer.status_code == 201, answer.text
                    self.answers[key] = answer.json()["id"]
            except httpx.TransportError:
                return

    def __enter__(self) -> "KeyedLoad":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self.threads:
            thread.join()


def post(client: httpx.Client, key: str) -> httpx.Response:
    return client.post("/tasks", json={"title": key}, headers={"Idempotency-Key": key})


def repeat(client: httpx.Client, key: str) -> httpx.Response:
    """The answer of a repeated request, once its key is not in use."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (answer := post(client, key)).status_code == 409:
        assert answer.json()["error"] == "idempotency_in_flight"
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert answer.status_code == 201, answer.text
    return answer


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_repeat_after_kill_9_makes_no_second_task_and_no_key_stays_locked(tmp_path: Path, workers: str) -> None:
    folder = tmp_path / "data"
    with serving(folder, "--workers", workers, IDEMPOTENCY_LEASE_SECONDS="1") as server:
        headers = server.account()
        with KeyedLoad(server, headers) as load:
            wait_until(lambda: len(load.answers) > 200, "some tasks to be acknowledged")
            server.kill_everything()
    unanswered = load.sent - load.answers.keys()
    assert unanswered
    with serving(folder, IDEMPOTENCY_LEASE_SECONDS="1") as server:
        port = int((folder / "port").read_text())
        mongo: MongoClient[dict[str, Any]] = MongoClient("127.0.0.1", port, directConnection=True)
        with server.client(headers=headers) as client, mongo:
            database = mongo["taskapi"]
            interrupted = {record["_id"]["key"] for record in database["idempotency_keys"].find({"status": None})}
            assert interrupted
            assert interrupted <= unanswered
            for key, identity in load.answers.items():
                again = post(client, key)
                assert (again.headers["idempotent-replay"], again.json()["id"]) == ("true", identity)
            for key in unanswered:
                load.answers[key] = repeat(client, key).json()["id"]
                assert post(client, key).headers["idempotent-replay"] == "true"
            stored = Counter((task["title"], str(task["_id"])) for task in database["tasks"].find())
            assert stored == Counter(dict.fromkeys(load.answers.items(), 1))
            assert database["idempotency_keys"].count_documents({"status": {"$ne": 201}}) == 0
            assert database["idempotency_keys"].count_documents({}) == len(load.sent)
        assert "Traceback" not in server.output
