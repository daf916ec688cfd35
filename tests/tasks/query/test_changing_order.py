"""Pages of a list while its sort fields change: the order of ``updated_at`` misses no task."""

import asyncio
import json
import random
from datetime import timedelta
from typing import Any

import pytest
from bson import MaxKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS

from taskapi.core.clock import rfc3339, utc_now
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, stored_task
from tests.stored import collection


async def next_page(account: Account, sort: str, cursor: str | None = None, limit: int = 1) -> tuple[list[str], str | None]:
    """The titles of a page, and the cursor of the next."""
    given = {"sort": sort, "limit": str(limit), "fields": "title", **({"cursor": cursor} if cursor else {})}
    answer = await account.get("/tasks", params=given)
    assert answer.status_code == 200, answer.text
    return [task["title"] for task in answer.json()], answer.headers.get("x-next-cursor")


async def test_task_changed_meanwhile_is_missed_only_newest_first(ada: Account) -> None:
    first = await ada.make_task("Task A")
    await ada.make_task("Task B")
    backward, backward_cursor = await next_page(ada, "-updated_at")
    forward, forward_cursor = await next_page(ada, "updated_at")
    assert (backward, forward) == (["Task B"], ["Task A"])
    await ada.patch(f"/tasks/{first['id']}", json={"priority": 5})
    assert await next_page(ada, "-updated_at", backward_cursor) == ([], None)  # A is now before the place of the cursor
    assert (await next_page(ada, "updated_at", forward_cursor, limit=2))[0] == ["Task B", "Task A"]


@pytest.mark.real
@pytest.mark.parametrize("ahead", [0, 3600])
async def test_each_change_moves_a_task_on(ada: Account, ahead: int) -> None:
    """Even within one millisecond, and after a server whose clock is ahead."""
    task = await ada.make_task(checklist=[{"text": "one"}])
    moment = utc_now() + timedelta(seconds=ahead)
    await collection(TaskDocument).update_one({"_id": ObjectId(task["id"])}, {"$set": {"updated_at": moment}})
    seen = [moment.replace(tzinfo=None)]
    path = f"/tasks/{task['id']}"
    for change in (
        ada.patch(path, json={"priority": 2}),
        ada.patch(path, json={"metadata": {"a": 1}}),
        ada.patch(f"{path}/checklist/{task['checklist'][0]['id']}", json={"done": True}),
        ada.patch("/tasks?where={}", json={"priority": 3}),
        ada.post(f"{path}/revert", json={"version": 1}),
    ):
        assert (await change).status_code == 200
        seen.append((await stored_task(task["id"]))["updated_at"].replace(tzinfo=None))
    assert seen == sorted(set(seen))


@pytest.mark.real
@pytest.mark.parametrize(
    "wrong", [None, "yesterday", 7, True, Timestamp(1, 1), Regex("a"), MaxKey(), DatetimeMS(2**50)], ids=repr
)
async def test_next_change_mends_a_damaged_updated_at(ada: Account, wrong: Any) -> None:
    task = await ada.make_task()
    await collection(TaskDocument).update_one({"_id": ObjectId(task["id"])}, {"$set": {"updated_at": wrong}})
    changed = await ada.patch(f"/tasks/{task['id']}", json={"priority": 2})
    assert changed.status_code == 200
    assert changed.json()["updated_at"] >= task["updated_at"]
    assert changed.json()["updated_at"] < "3"


async def test_import_moves_updated_at_forward_only(ada: Account) -> None:
    async def take(counted: str, **line: Any) -> dict[str, Any]:
        content = json.dumps({"key": "k", "title": "Task", **line})
        for query in ("?dry_run=true", ""):
            report = await ada.post(f"/tasks/import{query}", content=content, headers={"content-type": "application/jsonl"})
            assert report.json()[counted] == 1, report.text
        return dict((await ada.get("/tasks")).json()[0])

    old, older = "2026-03-04T05:06:07.000Z", "2026-01-01T00:00:00.000Z"
    assert (await take("created", updated_at=older))["updated_at"] == older
    assert (await take("updated", updated_at=old))["updated_at"] == old
    assert (await take("unchanged", updated_at=older))["updated_at"] == old
    before = utc_now()
    changed = await take("updated", updated_at=older, priority=3)
    assert changed["updated_at"] >= rfc3339(before)
    assert await take("unchanged", updated_at=older, priority=3) == changed


@pytest.mark.real
async def test_pages_by_last_change_miss_no_existing_task(ada: Account) -> None:
    chance = random.Random(11)
    ids = [(await ada.make_task(f"Task {number}"))["id"] for number in range(40)]
    reading = True

    async def write() -> None:
        while reading:
            path = f"/tasks/{chance.choice(ids)}"
            change = [{"priority": chance.randrange(1, 6)}, {"title": f"Task {chance.randrange(9)}"}, {"metadata": {"n": 1}}]
            await ada.patch(path, json=chance.choice(change))
            await asyncio.sleep(0)

    async def walk(limit: int) -> set[str]:
        """Reads pages until they have overtaken the writers, or contained all tasks."""
        given, seen = {"sort": "updated_at", "limit": str(limit), "fields": "id"}, set[str]()
        for _ in range(2000):
            answer = await ada.get("/tasks", params=given)
            seen |= {task["id"] for task in answer.json()}
            if "x-next-cursor" not in answer.headers:
                break
            given["cursor"] = answer.headers["x-next-cursor"]
        return seen

    writers = [asyncio.create_task(write()) for _ in range(3)]
    try:
        walks = await asyncio.gather(*(walk(limit) for limit in (3, 5, 20)))
    finally:
        reading = False
        await asyncio.gather(*writers)
    assert walks == [set(ids)] * 3
