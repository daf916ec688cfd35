"""Whether ``/ready`` says what a write would meet at this moment, and says it in time."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from pymongo import MongoClient

from tests.server.process import Server, serving, wait_until

pytestmark = pytest.mark.real

Mongo = MongoClient[dict[str, Any]]
IN_TIME = timedelta(seconds=2.5)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One whose MongoDB may be treated badly."""
    with serving(tmp_path_factory.mktemp("readiness") / "data") as server:
        yield server


@contextmanager
def connected(server: Server) -> Iterator[Mongo]:
    """A client of the embedded MongoDB."""
    with MongoClient[dict[str, Any]](server.mongodb_uri) as client:
        yield client


def reason(server: Server) -> str:
    """Why the server is not ready; it must say so within two seconds, and still be alive."""
    with server.client() as client:
        for _ in range(3):  # and half a second more, for a busy machine
            if (answer := client.get("/ready")).elapsed < IN_TIME:
                break
        assert answer.elapsed < IN_TIME
        assert client.get("/health").status_code == 200
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    return str(answer.json()["detail"])


def test_primary_stepping_down_is_noticed_at_once(server: Server) -> None:
    with connected(server) as mongo:
        mongo.admin.command("replSetStepDown", 600, force=True)
        try:
            wait_until(lambda: server.status() == 503, "the step down to be noticed")
            assert reason(server) == "MongoDB has no primary."
        finally:
            mongo.admin.command("replSetFreeze", 0)
        wait_until(lambda: server.status() == 200, "the server to be ready again")


def test_primary_without_majority_is_unready_before_stepping_down(server: Server) -> None:
    with connected(server) as mongo:
        config = mongo.admin.command("replSetGetConfig")["config"]
        alone = config["members"]
        dead = {"_id": 1, "host": "127.0.0.1:1", "priority": 0}
        config["settings"]["electionTimeoutMillis"] = 600_000  # it would step down then
        config["version"] += 1
        mongo.admin.command("replSetReconfig", config | {"members": [*alone, dead]}, force=True)
        try:
            assert mongo.admin.command("hello")["isWritablePrimary"]
            wait_until(lambda: server.status() == 503, "the missing majority to be noticed")
            assert reason(server) == "MongoDB's primary does not reach a majority of its replica set."
        finally:
            config["version"] += 100_000
            mongo.admin.command("replSetReconfig", config | {"members": alone}, force=True)
        wait_until(lambda: server.status() == 200, "the server to be ready again")


def test_frozen_mongodb_delays_no_readiness_answer(server: Server) -> None:
    headers = server.account()
    with ThreadPoolExecutor(64) as threads, server.client(headers=headers) as client:
        os.kill(server.mongod(), signal.SIGSTOP)
        try:
            waiting = [threads.submit(client.get, "/tasks") for _ in range(64)]
            wait_until(lambda: server.status() == 503, "the silence to be noticed")
            assert reason(server) in {"MongoDB cannot be reached.", "MongoDB has no primary."}
        finally:
            os.kill(server.mongod(), signal.SIGCONT)
        for each in waiting:
            each.result()
        wait_until(lambda: server.status() == 200, "the server to be ready again")
