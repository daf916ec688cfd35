"""An oplog that no longer goes back to where somebody was: each way to follow the events says so, and goes on."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from bson import ObjectId
from pymongo import MongoClient
from pymongo.errors import OperationFailure
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from taskapi.db.codes import CAPPED_POSITION_LOST
from tests.conftest import SECRET
from tests.events.sockets import quiet
from tests.mongod import REPLICA_SET, initiate, running_mongod
from tests.server.process import Server, serving, wait_until
from tests.server.test_streams import Stream, begin, following
from tests.server.test_webhooks import Inbox, add_hook, inbox
from tests.server.test_websocket import receive
from tests.tools import PATIENCE_SECONDS

pytestmark = pytest.mark.real

OPLOG_MB = 1
Mongo = MongoClient[dict[str, Any]]


@contextmanager
def short_oplog(folder: Path) -> Iterator[str]:
    """A replica set of one member whose oplog is as short as MongoDB makes it; its URI."""
    checkpoints = ["--syncdelay", "1"]  # what comes after the last checkpoint is not removed
    with running_mongod(folder, "--oplogSize", str(OPLOG_MB), *checkpoints) as address:
        initiate(address)
        yield f"mongodb://{address}/?replicaSet={REPLICA_SET}"


def fill_oplog(mongo: Mongo) -> None:
    """Writes until everything that the oplog holds now is gone. MongoDB truncates it in steps of some tens of megabytes."""
    oplog, filler = mongo["local"]["oplog.rs"], mongo["other"]["filler"]
    (newest,) = oplog.find({}, {"ts": 1}).sort("$natural", -1).limit(1)
    deadline = time.monotonic() + 3 * PATIENCE_SECONDS

    def has_newest() -> bool:
        try:
            return bool((oplog.find_one({}, {"ts": 1}, sort=[("$natural", 1)]) or {})["ts"] <= newest["ts"])
        except OperationFailure as error:
            if error.code != CAPPED_POSITION_LOST:  # the first entries were removed while they were read
                raise
            return True

    while has_newest():
        assert time.monotonic() < deadline
        filler.insert_many([{"text": "x" * 1_000_000} for _ in range(8)])
        filler.delete_many({})


def make_task(client: httpx.Client, title: str) -> str:
    answer = client.post("/tasks", json={"title": title})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def changed_since(client: httpx.Client, since: str) -> dict[str, Any]:
    """The events of the tasks that have changed, by their ids."""
    answer = client.get("/tasks/changes", params={"since": since})
    assert answer.status_code == 200, answer.text
    return {event["task_id"]: event for event in answer.json()["changes"]}


def is_reset(stream: Stream) -> None:
    reset = stream.next()
    assert reset is not None
    assert (reset.name, reset.data.get("reason"), reset.data.get("list")) == ("reset", "expired", "/tasks")
    assert reset.id == reset.data["position"]


def socket_is_reset(server: Server, headers: dict[str, str], since: str, client: httpx.Client) -> None:
    offered = [Subprotocol("taskapi.bearer"), Subprotocol(headers["Authorization"].removeprefix("Bearer "))]
    with connect(f"ws://127.0.0.1:{server.port}/events/ws", subprotocols=offered, logger=quiet, close_timeout=1) as wire:
        assert receive(wire)["type"] == "ready"
        wire.send(json.dumps({"type": "subscribe", "id": "s", "since": since}))
        begun, reset = receive(wire), receive(wire)
        assert (begun["type"], begun["position"]) == ("subscribed", since)
        assert (reset["type"], reset["reason"], reset["subscription"]) == ("reset", "expired", "s")
        task_id = make_task(client, "By socket")
        assert receive(wire)["event"]["task_id"] == task_id


def gaps(taken: Inbox) -> list[dict[str, Any]]:
    return [event for event in taken.events["/ada"] if event["type"] == "webhook.gap"]


def test_everybody_is_told_and_goes_on(tmp_path: Path, folder: Path) -> None:
    with short_oplog(tmp_path) as uri, Mongo(uri) as mongo, inbox() as taken:
        settings: dict[str, Any] = {"MONGODB_URI": uri, "SECRET_KEY": SECRET, "WEBHOOKS_ALLOW_PRIVATE": "true"}
        with serving(folder, **settings) as server:
            headers = server.account()
            add_hook(server, headers, taken, "/ada")
            with server.client(headers=headers) as client, following(server, headers) as stream:
                since = begin(stream)
                changed, gone = make_task(client, "Changed"), make_task(client, "Gone")
                assert stream.titles(2) == ["Changed", "Gone"]
            wait_until(lambda: len(taken.events["/ada"]) == 2, "the deliveries")
        # Nobody follows any more.
        at = datetime.now(UTC)
        tasks = mongo["taskapi"]["tasks"]
        tasks.update_one({"_id": ObjectId(changed)}, {"$set": {"title": "By a script", "changed_at": at}, "$inc": {"version": 1}})
        tombstone = {"state": "purged", "version": 2, "changed_at": at, "expires_at": at + timedelta(days=365)}
        kept = tasks.find_one({"_id": ObjectId(gone)}, {"owner_id": 1, "created_at": 1})
        tasks.replace_one({"_id": ObjectId(gone)}, {**(kept or {}), **tombstone})
        fill_oplog(mongo)
        with serving(folder, **settings) as server, server.client(headers=headers) as client:
            wait_until(lambda: len(gaps(taken)) == 1, "the word of a gap")
            with following(server, headers, since) as stream:
                assert begin(stream) == since
                is_reset(stream)
                after = make_task(client, "After")
                assert stream.titles(1) == ["After"]
            socket_is_reset(server, headers, since, client)
            found = changed_since(client, since)
            assert (found[changed]["task"]["title"], found[gone]["type"]) == ("By a script", "task.purged")
            wait_until(lambda: len(taken.events["/ada"]) == 5, "the deliveries that follow")
            told = [(event["type"], event.get("task_id")) for event in taken.events["/ada"][2:4]]
            assert told == [("webhook.gap", None), ("task.created", after)]
            assert after in changed_since(client, gaps(taken)[0]["id"])  # the position in the word of a gap
        assert server.output.count("webhooks are told of a gap") == 1
        assert "Traceback" not in server.output
