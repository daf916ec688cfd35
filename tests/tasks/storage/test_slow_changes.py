"""A change that waits for somebody's transaction keeps nobody else waiting."""

import asyncio
from typing import Any

import pytest
from bson import ObjectId

from taskapi.core import data_loader
from taskapi.db.connection import Database
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.inserter import TaskInserter
from taskapi.tasks.storage.repository import TaskRepository
from taskapi.tasks.storage.updater import WRITES, TaskUpdater
from tests.client import Account
from tests.stored import collection, service
from tests.tools import PATIENCE_SECONDS

pytestmark = pytest.mark.real


async def count_changes() -> int:
    """How many changes of single tasks MongoDB is carrying out."""
    ours = {"active": True, "ns": collection(TaskDocument).full_name, "command.findAndModify": TaskDocument.Settings.name}
    found = collection(TaskDocument).database.client.admin.aggregate([{"$currentOp": {}}, {"$match": ours}])
    return len(await found.to_list(None))


async def test_locked_task_delays_no_other_owner(ada: Account, bob: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_loader, "SLOW_SECONDS", 0.01)
    locked, other = await ada.make_task("locked"), await bob.make_task("free")
    database = service(Database)
    repository = TaskRepository(database, TaskInserter(database), TaskUpdater(database))

    async def hold(session: Any) -> None:
        one = {"_id": ObjectId(locked["id"])}
        await collection(TaskDocument).update_one(one, {"$set": {"description": "held"}}, session=session)
        for number in range(WRITES + 1):
            path = f"/tasks/{locked['id']}"
            waiting.append(asyncio.create_task(ada.patch(path, json={"priority": 1 + number})))
            while await count_changes() <= number:  # noqa: ASYNC110 - each in a group of its own, which only MongoDB knows
                await asyncio.sleep(0.01)
        for title in ("first", "second"):
            answer = await bob.patch(f"/tasks/{other['id']}", json={"title": title})
            assert (answer.status_code, answer.json()["title"]) == (200, title)
        assert not any(each.done() for each in waiting)

    waiting: list[asyncio.Task[Any]] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        await repository.transaction(hold)
        answers = await asyncio.gather(*waiting)
    assert [answer.status_code for answer in answers] == [200] * (WRITES + 1)
    assert sorted(answer.json()["version"] for answer in answers) == [2, 3, 4]
    assert {answer.json()["description"] for answer in answers} == {"held"}
