"""Delta sync shows what lists show, whatever a script has stored."""

from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId, Timestamp
from bson.datetime_ms import DatetimeMS

from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account
from tests.events.copies import Copy, all_tasks, changes
from tests.stored import collection

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("unvalidated", "made_anew")]

DAMAGE: dict[str, Any] = {
    "created_at": "long ago",
    "changed_at": 5,
    "history": {"at": 1},
    "history.0": 7,
    "history.0.at": "now",
    "history.0.before": [1],
    "history.0.action": ["create"],
    "version": "two",
    "title": 5,
    "owner": "nobody",
    "metadata": [1],
}


async def damage(task_id: str, changes: dict[str, Any]) -> None:
    assert (await collection(TaskDocument).update_one({"_id": ObjectId(task_id)}, changes)).matched_count == 1


@pytest.mark.parametrize("limit", [1, 100])
@pytest.mark.parametrize("name", DAMAGE)
async def test_damaged_task_is_shown_as_in_lists(ada: Account, name: str, limit: int) -> None:
    tasks = [await ada.make_task(f"Task {number}") for number in range(4)]
    copy = Copy(ada, limit)
    await copy.follow()
    await damage(tasks[1]["id"], {"$set": {name: DAMAGE[name]}})
    await damage(tasks[2]["id"], {"$unset": {name: ""}})
    listed = await all_tasks(ada)
    fresh = Copy(ada, limit)
    await fresh.follow()
    assert fresh.tasks == listed
    await copy.follow()
    lost = {tasks[1]["id"], tasks[2]["id"]} if name == "changed_at" else {tasks[1]["id"]} if name == "version" else set()
    assert {task_id: task for task_id, task in copy.tasks.items() if task_id not in lost} == {
        task_id: task for task_id, task in listed.items() if task_id not in lost
    }


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_first_run_with_any_time_of_creation(ada: Account, limit: int) -> None:
    strange: list[Any] = [
        None,
        5,
        "x",
        {},
        ObjectId(),
        True,
        Timestamp(1, 1),
        DatetimeMS(-(2**61)),
        datetime(1, 1, 1, tzinfo=UTC),
    ]
    for value in strange:
        await damage((await ada.make_task())["id"], {"$set": {"created_at": value}})
    await damage((await ada.make_task())["id"], {"$unset": {"created_at": ""}})
    await ada.make_task()
    events, _ = await changes(ada, limit=limit)
    ids = [event["task_id"] for event in events]
    assert sorted(ids) == sorted(await all_tasks(ada))
    assert len(ids) == len(strange) + 2


async def test_id_of_another_kind_is_left_out(ada: Account) -> None:
    made = await ada.make_task()
    template = await collection(TaskDocument).find_one({})
    assert template
    await collection(TaskDocument).insert_one({**template, "_id": "mine"})
    for limit in (1, 100):
        copy = Copy(ada, limit)
        for _ in range(2):
            await copy.follow()
            assert copy.tasks.keys() == {made["id"]}
