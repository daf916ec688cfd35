"""The power goes while keyed requests run. Each is repeated until it is answered: every task is there once."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo import MongoClient

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


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_repeat_after_kill_9_makes_no_second_task_and_no_key_stays_locked(tmp_path: Path, workers: str) -> None:
    folder = tmp_path / "data"
    with serving(folder, "--workers", workers, IDEMPOTENCY_LEASE_SECONDS="1") as server:
        headers = server.account()
        sent: set[str] = set()
        answers: dict[str, str] = {}  # the id of the task that each key was answered with

        def create(client: httpx.Client, name: str) -> None:
            key = f"key-{name}"
            sent.add(key)
            answer = post(client, key)
            assert answer.status_code == 201, answer.text
            answers[key] = answer.json()["id"]

        with calling(server, headers, create):
            wait_until(lambda: len(answers) > 60, "some tasks to be acknowledged")
            server.kill_everything()
    unanswered = sent - answers.keys()
    assert unanswered
    with serving(folder, IDEMPOTENCY_LEASE_SECONDS="1") as server:
        port = int((folder / "port").read_text())
        mongo: MongoClient[dict[str, Any]] = MongoClient("127.0.0.1", port, directConnection=True)
        with server.client(headers=headers) as client, mongo:
            database = mongo["taskapi"]
            interrupted = {record["_id"]["key"] for record in database["idempotency_keys"].find({"status": None})}
            assert interrupted
            assert interrupted <= unanswered
            for key, identity in answers.items():
                again = post(client, key)
                assert (again.headers["idempotent-replay"], again.json()["id"]) == ("true", identity)
            for key in unanswered:
                answers[key] = repeat(client, key).json()["id"]
                assert post(client, key).headers["idempotent-replay"] == "true"
            stored = Counter((task["title"], str(task["_id"])) for task in database["tasks"].find())
            assert stored == Counter(dict.fromkeys(answers.items(), 1))
            assert database["idempotency_keys"].count_documents({"status": {"$ne": 201}}) == 0
            assert database["idempotency_keys"].count_documents({}) == len(sent)
        assert "Traceback" not in server.output
