"""Tasks of earlier versions get the marks that a write leaves today; their status changes are those of their history."""

from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any

import pytest
from bson import ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st

from taskapi.core.clock import utc_now
from taskapi.db.connection import BSON
from taskapi.tasks.schemas import Status
from taskapi.tasks.storage.backfill import OUTDATED, UNMARKED, mark_from_history
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, stored_task
from tests.stored import collection

pytestmark = pytest.mark.real

DAY = timedelta(days=1)
FIRST = datetime(2026, 1, 1)


async def backfill(task: BSON) -> BSON:
    """A task as the update leaves it."""
    tasks, task_id = collection(TaskDocument), ObjectId()
    await tasks.insert_one({**task, "_id": task_id})
    result = await tasks.update_many({"_id": task_id, **UNMARKED}, mark_from_history())
    assert result.matched_count == 1
    found = await tasks.find_one_and_delete({"_id": task_id}, {"_id": 0})
    assert found is not None
    return found


async def test_status_changes_are_those_written(ada: Account) -> None:
    task_id = (await ada.make_task())["id"]
    path = f"/tasks/{task_id}"
    for change in ({"status": "in_progress"}, {"priority": 5}, {"completed": True}, {"title": "Renamed"}, {"status": "todo"}):
        await ada.patch(path, json=change)
    await ada.post(f"{path}/revert", json={"version": 2})
    await ada.delete(path)
    written = await stored_task(task_id)
    await collection(TaskDocument).update_one({}, {"$unset": {"changed_at": "", "status_changes": ""}})
    await collection(TaskDocument).update_one(UNMARKED, mark_from_history())
    after = await stored_task(task_id)
    assert after.pop("changed_at") > written.pop("changed_at")
    assert after == written
    assert len(after["status_changes"]) == 5


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(
    statuses=st.lists(st.sampled_from(Status), min_size=1, max_size=8),
    days=st.lists(st.integers(0, 9), min_size=8, max_size=8),
    kept=st.integers(0, 8),
)
async def test_status_changes_follow_from_any_history(app: Any, statuses: list[Status], days: list[int], kept: int) -> None:
    """Each day may have a clock of its own; ``kept`` entries are left of the history."""
    times = [FIRST + day * DAY for day in days]
    changed = [number for number in range(1, len(statuses)) if statuses[number] != statuses[number - 1]]
    history: list[BSON] = [{"at": times[number], "before": {"status": statuses[number - 1]}} for number in changed]
    others: list[BSON] = [{"at": FIRST, "before": {"priority": 3}}, {"at": FIRST, "before": {}}]
    left = history[len(history) - min(kept, len(history)) :]
    found = await backfill(
        {"status": statuses[-1], "created_at": FIRST, "completed_at": None, "history": [others[0], *left, others[1]]}
    )
    known = [*(entry["before"]["status"] for entry in left), statuses[-1]]
    beginnings = accumulate([FIRST, *(entry["at"] for entry in left)], max)
    expected = [{"status": status, "at": at} for status, at in zip(known, beginnings, strict=True)]
    assert found["status_changes"] == expected


@pytest.mark.parametrize("history", [[], None, "none", [1, {"before": 1}, {"before": {"status": 1}, "at": FIRST}]], ids=str)
async def test_completion_is_known_without_a_history(ada: Account, history: Any) -> None:
    found = await backfill({"status": "done", "created_at": FIRST, "completed_at": FIRST + DAY, "history": history})
    assert found["status_changes"] == [{"status": "todo", "at": FIRST}, {"status": "done", "at": FIRST + DAY}]
    found = await backfill({"status": "done", "created_at": FIRST, "completed_at": FIRST})
    assert found["status_changes"] == [{"status": "done", "at": FIRST}]
    assert abs(found["changed_at"] - utc_now().replace(tzinfo=None)) < DAY


async def test_marked_tasks_stay_as_they_are(ada: Account) -> None:
    task = await ada.make_task(status="done")
    before = await stored_task(task["id"])
    assert (await collection(TaskDocument).update_many(UNMARKED, mark_from_history())).matched_count == 0
    await collection(TaskDocument).update_one({}, {"$set": {"changed_at": "yesterday"}})
    assert (await collection(TaskDocument).update_many(UNMARKED, mark_from_history())).matched_count == 1
    after = await stored_task(task["id"])
    assert {**after, "changed_at": None} == {**before, "changed_at": None}


def entry(at: datetime, **before: Any) -> BSON:
    return {"at": at, "before": before}


async def test_writes_of_earlier_version_are_caught_up(ada: Account) -> None:
    """It has changed the status and the history of a marked task, but no mark."""
    tasks = collection(TaskDocument)
    task_id = (await ada.make_task())["id"]
    await ada.patch(f"/tasks/{task_id}", json={"status": "in_progress"})
    assert await tasks.count_documents(OUTDATED) == 0
    marked = await stored_task(task_id)
    times = [marked["changed_at"] + hours * DAY / 24 for hours in (1, 2, 3)]
    written = [entry(times[0], status="in_progress"), entry(times[1], status="todo"), entry(times[2], priority=3)]
    await tasks.update_one({}, {"$push": {"history": {"$each": written}}, "$set": {"status": "done"}})
    assert (await tasks.update_many(OUTDATED, mark_from_history())).matched_count == 1
    after = await stored_task(task_id)
    assert after["changed_at"] == times[2]
    added = [{"status": "todo", "at": times[0]}, {"status": "done", "at": times[1]}]
    assert after["status_changes"] == [*marked["status_changes"], *added]
    assert await tasks.count_documents(OUTDATED) == 0


async def test_status_set_by_script_is_caught_up(ada: Account) -> None:
    tasks, task_id = collection(TaskDocument), (await ada.make_task())["id"]
    before = await stored_task(task_id)
    await tasks.update_one({}, {"$set": {"status": "done"}})
    assert (await tasks.update_many(OUTDATED, mark_from_history())).matched_count == 1
    after = await stored_task(task_id)
    assert after["status_changes"] == [*before["status_changes"], {"status": "done", "at": before["updated_at"]}]
    assert await tasks.count_documents(OUTDATED) == 0


@pytest.mark.parametrize(
    "damaged", [{"history": "none"}, {"history": [{"at": "now"}]}, {"status": 1}, {"created_at": 1}], ids=str
)
async def test_no_damage_keeps_a_task_outdated(ada: Account, damaged: Any) -> None:
    tasks = collection(TaskDocument)
    await ada.make_task()
    await tasks.update_one({}, {"$set": damaged, "$unset": {"changed_at": "", "status_changes": ""}})
    for matching in (UNMARKED, OUTDATED):
        await tasks.update_many(matching, mark_from_history())
    assert await tasks.count_documents({"$or": [UNMARKED, OUTDATED]}) == 0
