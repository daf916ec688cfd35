"""The power goes while requests run. Nothing acknowledged is lost; what is repeated under its key is done once."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from bson import ObjectId
from pymongo import MongoClient
from pymongo.database import Database

from tests.server.process import calling, serving, wait_until
from tests.tools import PATIENCE_SECONDS

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
    for _ in range(20):  # now and then, the power goes between two requests of everybody
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


class Changes:
    """Titles that were sent to tasks, and those that were acknowledged, by task and version."""

    def __init__(self, ids: list[str]) -> None:
        self.ids = ids
        self.acknowledged: dict[tuple[str, int], str] = {}

    def make(self, client: httpx.Client, name: str) -> None:
        """Changes the title of a task that only this caller changes, or of the one that all change."""
        caller, number = map(int, name.split("-"))
        task_id = self.ids[-1 if number % 4 == 3 else caller]
        answer = client.patch(f"/tasks/{task_id}", json={"title": name})
        assert (answer.status_code, answer.json()["title"]) == (200, name), answer.text
        assert self.acknowledged.setdefault((task_id, answer.json()["version"]), name) == name

    def compare(self, database: Database[dict[str, Any]]) -> None:
        """Each acknowledged change is stored, at the version that the answer said, and none is stored twice."""
        for task_id in self.ids:
            task = database["tasks"].find_one({"_id": ObjectId(task_id)})
            assert task is not None
            title, version = task["title"], task["version"]
            for entry in reversed(task["history"]):
                assert (entry["version"], self.acknowledged.get((task_id, version), title)) == (version, title)
                if entry["action"] == "update":
                    assert entry["before"]["title"] != title
                    title, version = entry["before"]["title"], version - 1
            assert all(made <= task["version"] for changed, made in self.acknowledged if changed == task_id)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_kill_9_loses_no_acknowledged_change(folder: Path, workers: str) -> None:
    with serving(folder, "--workers", workers) as server:
        headers = server.account()
        with server.client(headers=headers) as client:
            changes = Changes([client.post("/tasks", json={"title": f"task {n}"}).json()["id"] for n in range(17)])
        with calling(server, headers, changes.make):
            wait_until(lambda: len(changes.acknowledged) >= 300, "some changes to be acknowledged")
            server.kill_everything()
    with serving(folder) as server:
        mongo: MongoClient[dict[str, Any]] = MongoClient(server.mongodb_uri)
        with mongo:
            changes.compare(mongo["taskapi"])
        assert "Traceback" not in server.output
