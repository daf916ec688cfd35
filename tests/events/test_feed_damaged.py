"""What a script has damaged keeps nobody from the events of other tasks."""

import asyncio
from typing import Any

import pytest
from bson import ObjectId
from bson.datetime_ms import DatetimeMS

from taskapi.core.errors import DatabaseUnavailable, DomainError
from taskapi.db.change_streams import HistoryLost, StreamsUnsupported
from taskapi.events.follower import Hello, Reset, ResetReason
from taskapi.tasks.services.changes import TaskChanges
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account
from tests.events.test_feed import following
from tests.stored import collection
from tests.tools import PATIENCE_SECONDS

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("unvalidated", "made_anew")]

NO_LISTS = {"tags": "none", "links": 5, "checklist": 5}  # MongoDB indexes no two lists of a document together
DAMAGE: dict[str, dict[str, Any]] = {
    "times": {"changed_at": DatetimeMS(2**61), "due_date": DatetimeMS(-(2**61)), "created_at": "long ago"},
    "history": {"history": {"at": 1}},
    "version": {"version": [1]},
    "fields": {"title": 5, "owner": "nobody", "metadata": [1]},
    "no list": NO_LISTS,
    "state": {"state": {"of": "mind"}, "version": 2},
    "states": {**NO_LISTS, "state": [1]},
    "owners": {**NO_LISTS, "owner_id": []},
    "size": {"x": "x" * (16 * 1024 * 1024 - 5000)},
}


async def damage(task_id: str, changes: dict[str, Any]) -> None:
    assert (await collection(TaskDocument).update_one({"_id": ObjectId(task_id)}, changes)).matched_count == 1


async def told(ada: Account, bob: Account, changes: dict[str, Any]) -> None:
    """Changes a task of Ada's, and expects that she and Bob are told of other tasks, now and when they come back."""
    task = await ada.make_task("Damaged")
    async with following(ada) as mine, following(bob) as theirs:
        hello = await mine.next()
        assert isinstance(hello, Hello)
        await theirs.next()
        await damage(task["id"], changes)
        last, of_bob = await ada.make_task("Last"), await bob.make_task("Theirs")
        assert [event["task_id"] for event in await theirs.events(1)] == [of_bob["id"]]
        events = await mine.events(1)
        if events[0]["task_id"] == task["id"]:
            events += await mine.events(1)
        assert events[-1]["task_id"] == last["id"]
    async with following(ada, hello.position) as again:
        await again.next()
        assert await again.events(len(events)) == events


@pytest.mark.parametrize("name", DAMAGE)
async def test_damaged_task(ada: Account, bob: Account, name: str) -> None:
    await told(ada, bob, {"$set": DAMAGE[name]})


@pytest.mark.parametrize("others", [0, 1])
async def test_task_of_a_list_of_owners(ada: Account, bob: Account, others: int) -> None:
    owners = [ObjectId(ada.id), ObjectId(bob.id)][: 1 + others]
    await told(ada, bob, {"$set": {**NO_LISTS, "owner_id": owners, "title": "Whose?"}})


async def test_task_without_state(ada: Account, bob: Account) -> None:
    await told(ada, bob, {"$unset": {"state": ""}, "$set": {"title": "Nowhere"}})


async def test_what_nobody_has_thought_of_is_said(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> None:
        raise ValueError("of a kind that nobody has thought of")

    async with following(ada) as feed:
        await feed.next()
        with monkeypatch.context() as patch:
            patch.setattr(TaskChanges, "current", fail)
            await ada.make_task("Lost")
            reset = await feed.next()
        assert isinstance(reset, Reset)
        assert reset.reason == ResetReason.history_lost
        task = await ada.make_task("Told")
        assert [event["task_id"] for event in await feed.events(1)] == [task["id"]]


@pytest.mark.parametrize("failure", [DatabaseUnavailable, StreamsUnsupported])
async def test_gap_is_told_when_mongodb_is_back(
    ada: Account, monkeypatch: pytest.MonkeyPatch, failure: type[DomainError]
) -> None:
    asked = asyncio.Event()

    async def lose(*_: Any) -> None:
        raise HistoryLost

    async def fail(*_: Any) -> None:
        asked.set()
        raise failure

    async with following(ada) as feed:
        await feed.next()
        with monkeypatch.context() as patch:
            patch.setattr(TaskChanges, "current", lose)
            patch.setattr(TaskChanges, "now", fail)
            await ada.make_task("Lost")
            async with asyncio.timeout(PATIENCE_SECONDS):
                await asked.wait()
        reset = await feed.next()
        assert isinstance(reset, Reset)
        assert reset.reason == ResetReason.history_lost
        task = await ada.make_task("Told")
        assert [event["task_id"] for event in await feed.events(1)] == [task["id"]]
