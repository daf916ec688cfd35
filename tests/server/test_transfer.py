"""Exports and imports of a real server whose surroundings fail: nothing looks complete that is not, nothing is done twice."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from bson import ObjectId
from pymongo import MongoClient
from pymongo.read_concern import ReadConcern

from tests.server.process import Server, serving, wait_until

pytestmark = pytest.mark.real

MANY = 8000
LONG = "x" * 2000  # with which they are 20 MB: more than the sockets between the two hold
JSONL = {"content-type": "application/jsonl"}


def database(server: Server) -> MongoClient[dict[str, Any]]:
    return MongoClient(server.mongodb_uri)


@pytest.fixture(scope="module")
def owner(server: Server) -> dict[str, str]:
    """The headers of somebody who has many tasks."""
    headers = server.account()
    with server.client(headers=headers) as client, database(server) as mongo:
        made = client.post("/tasks", json={"title": "One of many", "description": LONG})
        tasks = mongo["taskapi"]["tasks"]
        template = tasks.find_one_and_delete({"_id": ObjectId(made.json()["id"])})
        assert template
        tasks.insert_many([{**template, "_id": ObjectId()} for _ in range(MANY)], ordered=False)
    return headers


def idle_cursors(server: Server) -> int:
    with database(server) as mongo:
        stages: list[dict[str, Any]] = [
            {"$currentOp": {"idleCursors": True}},
            {"$match": {"type": "idleCursor", "ns": "taskapi.tasks"}},
        ]
        return len(list(mongo.admin.aggregate(stages)))


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_export_is_cut_off_when_the_database_dies(server: Server, owner: dict[str, str], kind: str) -> None:
    with server.client(headers=owner) as client:
        with client.stream("GET", f"/tasks/export?format={kind}") as answer:
            assert answer.status_code == 200
            parts = answer.iter_raw()
            next(parts)
            os.kill(server.mongod(), signal.SIGKILL)
            with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
                for _ in parts:
                    pass
        answers: list[httpx.Response] = []

        def exported() -> bool:
            answers.append(client.get(f"/tasks/export?format={kind}"))
            return answers[-1].status_code == 200

        wait_until(exported, "an export of the database that came back")
        assert answers[-1].text.count("\n") == MANY + (kind == "csv")
        assert {answer.status_code for answer in answers} <= {200, 503}
    assert "a streamed answer was cut off" in server.output
    assert "Traceback" not in server.output


def test_a_caller_that_goes_away_leaves_nothing_behind(server: Server, owner: dict[str, str]) -> None:
    for _ in range(3):
        with server.client(headers=owner) as client, client.stream("GET", "/tasks/export") as answer:
            next(answer.iter_raw())
            wait_until(lambda: idle_cursors(server) == 1, "the cursor to be read no further")
        wait_until(lambda: idle_cursors(server) == 0, "the cursor to be closed")
    assert "Traceback" not in server.output


def keyed(numbers: range) -> bytes:
    return b"".join(json.dumps({"title": f"task {number}", "key": str(number)}).encode() + b"\n" for number in numbers)


def test_a_refused_import_is_answered_although_more_comes(server: Server) -> None:
    def long() -> Iterator[bytes]:
        yield keyed(range(10))
        for _ in range(30):
            yield b"0\n" * 10_000

    with server.client(headers=server.account()) as client:
        answer = client.post("/tasks/import", content=long(), headers=JSONL)
        assert (answer.status_code, answer.json()["error"]) == (413, "too_many_lines")
        assert client.get("/tasks/export").text.count("\n") == 10


def test_an_import_goes_on_after_everything_was_killed(folder: Path) -> None:
    text = keyed(range(3000))
    with serving(folder) as server:
        headers = server.account()

        def until_killed() -> Iterator[bytes]:
            yield text
            with database(server) as mongo:
                durable = mongo["taskapi"].get_collection("tasks", read_concern=ReadConcern("majority"))
                wait_until(lambda: bool(durable.find_one()), "a batch to be written for good")
            server.kill_everything()
            while True:
                yield b"\n" * 100_000
                time.sleep(0.01)

        with server.client(headers={**headers, **JSONL}) as client, pytest.raises(httpx.TransportError):
            client.post("/tasks/import", content=until_killed())
    with serving(folder) as server, server.client(headers={**headers, **JSONL}) as client:
        report = client.post("/tasks/import", content=text).json()
        assert report["created"] + report["unchanged"] == 3000
        assert report["unchanged"] >= 250
        keys = [json.loads(line)["key"] for line in client.get("/tasks/export").text.splitlines()]
        assert sorted(keys, key=int) == [str(number) for number in range(3000)]


def test_others_are_served_while_an_import_runs(server: Server) -> None:
    """The event loop is shared: an import of many lines must not keep a small request waiting until it is done."""
    with server.client(headers=server.account()) as client:
        served = 0

        def meanwhile() -> Iterator[bytes]:
            nonlocal served
            for start in range(0, 5000, 500):
                yield keyed(range(start, start + 500))
                with server.client() as other:
                    served += other.get("/health").status_code == 200

        assert client.post("/tasks/import", content=meanwhile(), headers=JSONL).json()["created"] == 5000
        assert served == 10
