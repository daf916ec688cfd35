"""Delta sync misses nothing: beside writers, across workers and clocks, and whatever commits late."""

import asyncio
from datetime import timedelta

import httpx
import pytest
from bson import ObjectId

from taskapi.core.clock import utc_now
from taskapi.events.delta import OVERLAP_MS
from taskapi.tasks.storage import marks
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, make_account, signed_in, stored_task
from tests.conftest import another
from tests.events.copies import Copy, all_tasks, changes, page
from tests.stored import collection
from tests.writers import LATE_WRITES, Write, write_much, written_late

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("copies_wait")]

NEARLY = timedelta(milliseconds=OVERLAP_MS) - timedelta(seconds=30)


@pytest.mark.parametrize("limit", [1, 7, 100])
async def test_copies_are_complete_beside_writers(anonymous: httpx.AsyncClient, limit: int) -> None:
    """Of two accounts, each with two writers on two workers, and a copy that begins while they write."""
    async with another() as second:
        accounts = [await make_account(anonymous, name) for name in ("ada", "bob")]
        until = asyncio.Event()
        writers = [account for each in accounts for account in (each, await signed_in(second, each))]
        writing = [asyncio.create_task(write_much(account, until)) for account in writers]
        copies = [Copy(account, limit) for account in writers]  # each asks another worker
        while any(len(copy.tasks) < 20 for copy in copies):
            await asyncio.gather(*(follow_a_while(copy) for copy in copies))
        until.set()
        await asyncio.gather(*writing)
        for copy in copies:
            await copy.follow()  # the rest of a run that may have begun long before
            await copy.follow()
            assert copy.tasks == await all_tasks(copy.account)


async def follow_a_while(copy: Copy) -> None:
    """At most ten pages: while others write, there is always more."""
    for _ in range(10):
        found = await page(copy.account, copy.since, copy.limit)
        copy.since = found["next"]
        for event in found["changes"]:
            copy.apply(event)
        if not found["more"]:
            return


async def test_first_run_while_tasks_move(ada: Account) -> None:
    """Between two of its pages, tasks are changed, deleted, restored, purged and created: the next run brings what it lacks."""
    tasks = [(await ada.make_task(f"Task {number}"))["id"] for number in range(12)]
    copy = Copy(ada, 2)
    for number in range(6):
        found = await page(ada, copy.since, 2)
        copy.since = found["next"]
        for event in found["changes"]:
            copy.apply(event)
        for task_id in (tasks[number], tasks[-1 - number]):
            await ada.patch(f"/tasks/{task_id}", json={"title": f"Moved {number}"})
        await ada.delete(f"/tasks/{tasks[2 * number]}")
        if number % 3 == 0:
            await ada.post(f"/tasks/{tasks[2 * number]}/restore")
        if number % 3 == 1:
            await ada.delete(f"/trash/{tasks[2 * number]}")
        await ada.make_task(f"New {number}")
    await copy.follow()
    await copy.follow()
    assert copy.tasks == await all_tasks(ada)


@pytest.mark.parametrize("write", LATE_WRITES)
async def test_transaction_that_commits_later_is_not_missed(ada: Account, write: Write) -> None:
    """It writes first, and commits when later writes have been read long ago."""
    copy = Copy(ada)
    async with written_late(ada, write) as session:
        begun = await collection(TaskDocument).find_one({"title": "Late"}, session=session)
        for _ in range(3):
            await ada.make_task("Meanwhile")
            await copy.follow()
    assert begun is None or begun["changed_at"] < max([(await stored_task(each))["changed_at"] for each in copy.tasks])
    assert copy.tasks != await all_tasks(ada)
    await copy.follow()
    assert copy.tasks == await all_tasks(ada)


@pytest.mark.parametrize("skew", [-NEARLY, NEARLY], ids=["slow", "fast"])
async def test_worker_with_another_clock_is_not_missed(ada: Account, monkeypatch: pytest.MonkeyPatch, skew: timedelta) -> None:
    copy = Copy(ada)
    await ada.make_task("By a clock that is right")
    await copy.follow()
    monkeypatch.setattr(marks, "utc_now", lambda: utc_now() + skew)
    await ada.make_task("By another clock")
    await copy.follow()
    monkeypatch.undo()
    await ada.make_task("By a clock that is right")
    await copy.follow()
    assert copy.tasks == await all_tasks(ada)
    assert len(copy.tasks) == 3


@pytest.mark.parametrize("skew", [-NEARLY, NEARLY], ids=["slow", "fast"])
async def test_primary_with_another_clock_is_not_missed(ada: Account, skew: timedelta) -> None:
    """What it has written bears the time of its clock: stored as if it had."""
    tasks = [await ada.make_task(f"Task {number}") for number in range(4)]
    copy = Copy(ada, 1)
    await copy.follow()
    for number, task in enumerate(tasks):
        await ada.patch(f"/tasks/{task['id']}", json={"title": f"Change {number}"})
        moved = {"changed_at": utc_now() + skew}
        await collection(TaskDocument).update_one({"_id": ObjectId(task["id"])}, {"$set": moved})
        await copy.follow()
        assert copy.tasks == await all_tasks(ada)


async def test_task_of_the_far_future_comes_each_time(ada: Account) -> None:
    """A script has given it a time that no clock will show soon: each of its later changes bears one that is later still."""
    task = await ada.make_task()
    copy = Copy(ada)
    await copy.follow()
    future = {"changed_at": utc_now() + timedelta(days=4000)}
    await collection(TaskDocument).update_one({"_id": ObjectId(task["id"])}, {"$set": future})
    for number in range(2):
        await ada.patch(f"/tasks/{task['id']}", json={"title": f"Change {number}"})
        events = await copy.follow()
        assert [event["task"]["title"] for event in events] == [f"Change {number}"]


async def test_pages_of_what_changed_at_one_time(ada: Account) -> None:
    tasks = [(await ada.make_task(f"Task {number}"))["id"] for number in range(25)]
    _, since = await changes(ada)
    await collection(TaskDocument).update_many({}, {"$set": {"changed_at": utc_now(), "created_at": utc_now()}})
    for position in (since, None):
        for limit in (1, 4, 25, 26):
            events, _ = await changes(ada, position, limit)
            assert sorted(event["task_id"] for event in events) == sorted(tasks)
