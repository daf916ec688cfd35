"""The power goes while requests run. Nothing acknowledged is lost; what is repeated under its key is done once."""

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

PLAIN = "plain-"  # begins the titles of tasks that were sent without a key


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
    """Keys that were sent, and the id of the task that each was answered with; those of tasks without a key."""

    def __init__(self) -> None:
        self.sent: set[str] = set()
        self.answers: dict[str, str] = {}
        self.plain: set[str] = set()
        self.wanted = 0

    def suffice(self) -> bool:
        """Whether as many were answered as are wanted."""
        return len(self.answers) >= self.wanted

    def create(self, client: httpx.Client, name: str) -> None:
        """Creates a task under a key that is its title too, and one without."""
        key = f"key-{len(self.answers)}-{name}"
        self.sent.add(key)
        answer = post(client, key)
        assert answer.status_code == 201, answer.text
        self.answers[key] = answer.json()["id"]
        answer = client.post("/tasks", json={"title": f"{PLAIN}{key}"})
        assert answer.status_code == 201, answer.text
        self.plain.add(answer.json()["id"])

    def settle(self, client: httpx.Client, database: Database[dict[str, Any]]) -> int:
        """Repeats what was not answered; how many of those had been interrupted half-way."""
        interrupted = {record["_id"]["key"] for record in database["idempotency_keys"].find({"status": None})}
        assert interrupted.isdisjoint(self.answers)
        for key, task_id in self.answers.items():
            again = post(client, key)
            assert (again.headers["idempotent-replay"], again.json()["id"]) == ("true", task_id)
        for key in self.sent - self.answers.keys():
            self.answers[key] = repeat(client, key).json()["id"]
            assert post(client, key).headers["idempotent-replay"] == "true"
        stored = Counter((task["title"], str(task["_id"])) for task in database["tasks"].find())
        plain = {pair for pair in stored if pair[0].startswith(PLAIN)}
        assert Counter({pair: n for pair, n in stored.items() if pair not in plain}) == Counter(self.answers.items())
        assert self.plain <= {task_id for _, task_id in plain}
        assert database["idempotency_keys"].count_documents({"status": {"$ne": 201}}) == 0
        assert database["idempotency_keys"].count_documents({}) == len(self.sent)
        return len(interrupted)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_kill_9_loses_no_acknowledged_task_repeats_none(folder: Path, workers: str) -> None:
    headers: dict[str, str] = {}
    calls, interrupted = Calls(), 0
    for _ in range(5):  # seldom, the power goes between two requests of everybody
        with serving(folder, "--workers", workers, IDEMPOTENCY_LEASE_SECONDS="1") as server:
            headers = headers or server.account()
            calls.wanted = len(calls.answers) + 60
            with calling(server, headers, calls.create):
                wait_until(calls.suffice, "some tasks to be acknowledged")
                server.kill_everything()
        with serving(folder, IDEMPOTENCY_LEASE_SECONDS="1") as server, server.client(headers=headers) as client:
            mongo: MongoClient[dict[str, Any]] = MongoClient(server.mongodb_uri)
            with mongo:
                interrupted += calls.settle(client, mongo["taskapi"])
            assert "Traceback" not in server.output
        if interrupted:
            break
    assert interrupted
