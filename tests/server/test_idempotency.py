"""The power goes while keyed requests run. Each is repeated until it is answered: every task is there once."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo import MongoClient
from pymongo.database import Database

from tests.server.process import PATIENCE_SECONDS, calling, serving, wait_until

pytestmark = pytest.mark.real


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


class Calls:
    """Keys that were sent, and the id of the task that each was answered with."""

    def __init__(self) -> None:
        self.sent: set[str] = set()
        self.answers: dict[str, str] = {}
        self.wanted = 0

    def suffice(self) -> bool:
        """Whether as many were answered as are wanted."""
        return len(self.answers) >= self.wanted

    def create(self, client: httpx.Client, name: str) -> None:
        """Creates a task under a key that is its title too."""
        key = f"key-{len(self.answers)}-{name}"
        self.sent.add(key)
        answer = post(client, key)
        assert answer.status_code == 201, answer.text
        self.answers[key] = answer.json()["id"]

    def settle(self, client: httpx.Client, database: Database[dict[str, Any]]) -> int:
        """Repeats what was not answered; how many of those had been interrupted half-way."""
        interrupted = {record["_id"]["key"] for record in database["idempotency_keys"].find({"status": None})}
        assert interrupted.isdisjoint(self.answers)
        for key, identity in self.answers.items():
            again = post(client, key)
            assert (again.headers["idempotent-replay"], again.json()["id"]) == ("true", identity)
        for key in self.sent - self.answers.keys():
            self.answers[key] = repeat(client, key).json()["id"]
            assert post(client, key).headers["idempotent-replay"] == "true"
        stored = Counter((task["title"], str(task["_id"])) for task in database["tasks"].find())
        assert stored == Counter(dict.fromkeys(self.answers.items(), 1))
        assert database["idempotency_keys"].count_documents({"status": {"$ne": 201}}) == 0
        assert database["idempotency_keys"].count_documents({}) == len(self.sent)
        return len(interrupted)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_repeat_after_kill_9_makes_no_second_task_and_no_key_stays_locked(tmp_path: Path, workers: str) -> None:
    folder = tmp_path / "data"
    calls, interrupted = Calls(), 0
    with serving(folder) as server:
        headers = server.account()
    for _ in range(5):  # seldom, the power goes between two requests of everybody
        with serving(folder, "--workers", workers, IDEMPOTENCY_LEASE_SECONDS="1") as server:
            calls.wanted = len(calls.answers) + 60
            with calling(server, headers, calls.create):
                wait_until(calls.suffice, "some tasks to be acknowledged")
                server.kill_everything()
        with serving(folder, IDEMPOTENCY_LEASE_SECONDS="1") as server, server.client(headers=headers) as client:
            port = int((folder / "port").read_text())
            mongo: MongoClient[dict[str, Any]] = MongoClient("127.0.0.1", port, directConnection=True)
            with mongo:
                interrupted += calls.settle(client, mongo["taskapi"])
            assert "Traceback" not in server.output
        if interrupted:
            break
    assert interrupted
