"""The changes of tasks, as the change stream of a real MongoDB tells them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bson import ObjectId
from fastapi import FastAPI

from taskapi.tasks.services.changes import Change, ChangeBatch, ChangeKind, TaskChanges
from taskapi.tasks.storage.documents import TaskDocument
from tests.accounts.users.renamer import follow_due
from tests.client import Account, stored_task
from tests.stored import collection
from tests.tasks.import_export.test_export import RICH
from tests.tasks.import_export.test_importer import take as import_lines
from tests.tools import PATIENCE_SECONDS

pytestmark = pytest.mark.real


@pytest.fixture
def changes(app: FastAPI) -> TaskChanges:
    found: TaskChanges = app.state.services[TaskChanges]
    return found


async def take(batches: AsyncIterator[ChangeBatch], number: int) -> list[Change]:
    """The next changes."""
    found: list[Change] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(found) < number:
            found += (await anext(batches)).changes
    return found


async def test_each_kind_of_change_is_told(ada: Account, changes: TaskChanges) -> None:
    start = await changes.now()
    task = (await ada.post("/tasks", json={"title": "Paint the fence"})).json()
    path = f"/tasks/{task['id']}"
    await ada.patch(path, json={"title": "Paint the wall", "tags": ["home"]})
    await ada.delete(path)
    await ada.post(f"/tasks/{task['id']}/restore")
    await ada.delete(path)
    await ada.delete(f"/trash/{task['id']}")
    async with changes.watch(since=start) as batches:
        found = await take(batches, 6)
    assert [(change.kind, change.version) for change in found] == [
        (ChangeKind.created, 1),
        (ChangeKind.updated, 2),
        (ChangeKind.deleted, 3),
        (ChangeKind.restored, 4),
        (ChangeKind.deleted, 5),
        (ChangeKind.purged, 6),
    ]
    assert found[1].changed == ("title", "tags")
    assert {change.task_id for change in found} == {ObjectId(task["id"])}


@pytest.mark.parametrize("fields", [{}, RICH], ids=["small", "large"])
async def test_task_in_place_of_tombstone_is_created(ada: Account, changes: TaskChanges, fields: dict[str, Any]) -> None:
    start = await changes.now()
    line = {**fields, "id": str(ObjectId()), "title": "Paint the fence"}
    for _ in range(2):
        await import_lines(ada, [line], "?match=id")
        (task,) = (await ada.get("/tasks")).json()
        await ada.delete(f"/tasks/{task['id']}")
        await ada.delete(f"/trash/{task['id']}")
    async with changes.watch(since=start) as batches:
        found = await take(batches, 6)
    told = [(change.kind, change.version, change.changed) for change in found]
    assert told[3:] == [(ChangeKind.created, 4, ()), (ChangeKind.deleted, 5, ()), (ChangeKind.purged, 6, ())]


async def test_a_token_resumes_after_its_change(ada: Account, changes: TaskChanges) -> None:
    start = await changes.now()
    for title in ("first", "second", "third"):
        await ada.post("/tasks", json={"title": title})
    async with changes.watch(since=start) as batches:
        first, second, third = await take(batches, 3)
    async with changes.watch(after=first.token) as batches:
        assert await take(batches, 2) == [second, third]


async def test_what_a_script_writes_is_told(ada: Account, changes: TaskChanges) -> None:
    task = (await ada.post("/tasks", json={"title": "Paint the fence"})).json()
    start = await changes.now()
    tasks = collection(TaskDocument)
    await tasks.update_one({"_id": ObjectId(task["id"])}, {"$set": {"metadata": {"a.b": 1}}})
    await tasks.update_one({"_id": ObjectId(task["id"])}, {"$set": {"metadata.room": "hall", "priority": 2}})
    async with changes.watch(since=start) as batches:
        found = await take(batches, 2)
    assert [change.changed for change in found] == [("metadata",), ("priority", "metadata")]
    assert [change.version for change in found] == [None, None]


async def test_internal_fields_are_not_told(ada: Account, changes: TaskChanges) -> None:
    task = (await ada.post("/tasks", json={"title": "Paint the fence"})).json()
    start = await changes.now()
    await collection(TaskDocument).update_one({"_id": ObjectId(task["id"])}, {"$set": {"history": []}})
    await ada.patch(f"/tasks/{task['id']}", json={"priority": 4})
    async with changes.watch(since=start) as batches:
        (found,) = await take(batches, 1)
    assert found.changed == ("priority",)


@pytest.mark.usefixtures("copies_wait")
async def test_new_name_of_the_owner_is_not_told(ada: Account, changes: TaskChanges) -> None:
    task, deleted = await ada.make_task("Paint the fence"), await ada.make_task("Paint the wall")
    for priority in (1, 4):
        await ada.patch(f"/tasks/{task['id']}", json={"priority": priority})
    await ada.delete(f"/tasks/{deleted['id']}")
    start = await changes.now()
    await ada.patch("/users/me", json={"username": "countess"})
    await follow_due()
    assert (await stored_task(task["id"]))["owner"]["username"] == "countess"
    assert (await stored_task(deleted["id"]))["trash"]["owner"]["username"] == "countess"
    await ada.delete(f"/tasks/{task['id']}")
    await ada.post(f"/tasks/{task['id']}/restore")
    async with changes.watch(since=start) as batches:
        assert [change.kind for change in await take(batches, 2)] == [ChangeKind.deleted, ChangeKind.restored]


async def test_only_tasks_of_those_who_listen_are_read(ada: Account, bob: Account, changes: TaskChanges) -> None:
    start = await changes.now()
    mine = (await ada.post("/tasks", json={"title": "Mine"})).json()
    theirs = (await bob.post("/tasks", json={"title": "Theirs"})).json()
    async with changes.watch(since=start) as batches:
        found = await take(batches, 2)
    assert {change.task_id for change in found} == {ObjectId(mine["id"]), ObjectId(theirs["id"])}
    assert list(await changes.current(found, [ObjectId(ada.id)])) == [ObjectId(mine["id"])]
    assert await changes.current(found, []) == {}


async def test_the_place_moves_on_while_nothing_happens(ada: Account, changes: TaskChanges) -> None:
    async with changes.watch(since=await changes.now()) as batches, asyncio.timeout(PATIENCE_SECONDS):
        first = await anext(batches)
        await ada.patch("/users/me", json={"full_name": "Ada Lovelace"})
        while (later := await anext(batches)).token == first.token:
            pass
    assert later.changes == []
    async with changes.watch(after=later.token) as batches:
        await ada.post("/tasks", json={"title": "Paint the fence"})
        assert len(await take(batches, 1)) == 1
