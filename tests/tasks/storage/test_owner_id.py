"""The owner of a stored task: one field that is there in every state and that nothing changes."""

from typing import Any

import pytest
from bson import ObjectId

from taskapi.db.shapes import validate
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, stored_task
from tests.stored import collection
from tests.tasks.import_export.test_importer import take


async def owner_and_state(task_id: str) -> tuple[ObjectId, str]:
    kept = await stored_task(task_id)
    validate(TaskDocument, kept)
    return kept["owner_id"], kept["state"]


async def test_owner_stays_through_trash_and_back(ada: Account) -> None:
    task, ada_id = await ada.make_task(), ObjectId(ada.id)
    assert await owner_and_state(task["id"]) == (ada_id, "active")
    await ada.delete(f"/tasks/{task['id']}")
    assert await owner_and_state(task["id"]) == (ada_id, "trash")
    await ada.post(f"/tasks/{task['id']}/restore")
    assert await owner_and_state(task["id"]) == (ada_id, "active")
    await ada.delete("/tasks?where={}")
    assert await owner_and_state(task["id"]) == (ada_id, "trash")


@pytest.mark.real
async def test_imported_tasks_have_owner_and_state(ada: Account, bob: Account) -> None:
    task = await ada.make_task()
    for account in (ada, bob):  # the id of another's task is free for nobody
        await take(account, [{"id": task["id"], "title": "Imported"}, {"title": "New"}], "?match=id")
        found = (await account.get("/tasks")).json()
        assert len(found) == 2
        for each in found:
            assert await owner_and_state(each["id"]) == (ObjectId(account.id), "active")


@pytest.mark.real
async def test_import_takes_tasks_out_of_trash(ada: Account) -> None:
    task = await ada.make_task()
    await ada.delete(f"/tasks/{task['id']}")
    await take(ada, [{"id": task["id"], "title": "Imported"}], "?match=id")
    assert await owner_and_state(task["id"]) == (ObjectId(ada.id), "active")


@pytest.mark.real
@pytest.mark.parametrize("query", ["?match=id", "?match=id&dry_run=true"])
async def test_import_leaves_task_without_state(ada: Account, bob: Account, query: str) -> None:
    """Neither the id of the line may be that of such a task, nor the one that a copy of another's task has."""
    task = await bob.make_task()
    line = {"id": task["id"], "title": "Imported"}
    await take(ada, [line], "?match=id")
    await collection(TaskDocument).update_many({}, {"$unset": {"state": ""}})
    before = await collection(TaskDocument).find({}).sort("_id").to_list(None)
    for account in (ada, bob):
        report = await take(account, [line, {"title": "Another"}], query)
        assert (report["failed"], report["created"]) == (1, 1)
        assert [(error["line"], error["field"], error["type"]) for error in report["errors"]] == [(1, "id", "taken")]
    after = await collection(TaskDocument).find({"_id": {"$in": [each["_id"] for each in before]}}).sort("_id").to_list(None)
    assert after == before


@pytest.mark.parametrize("sent", [{"owner_id": "0" * 24}, {"state": "trash"}])
async def test_callers_cannot_send_owner_or_state(ada: Account, sent: dict[str, Any]) -> None:
    task = await ada.make_task()
    (name,) = sent
    assert (await ada.post("/tasks", json={"title": "A task", **sent})).status_code == 422
    assert (await ada.patch(f"/tasks/{task['id']}", json=sent)).status_code == 422
    assert (await ada.put(f"/tasks/{task['id']}", json={**task, **sent})).status_code == 422
    patch = [{"op": "add", "path": f"/{name}", "value": sent[name]}]
    headers = {"Content-Type": "application/json-patch+json"}
    assert (await ada.patch(f"/tasks/{task['id']}", json=patch, headers=headers)).status_code == 422
    assert (await ada.get("/tasks", params=sent)).status_code == 422
    assert (await ada.get("/tasks", params={"where": f'{{"{name}": "x"}}'})).status_code == 422
    assert name not in (await ada.get(f"/tasks/{task['id']}")).json()
    assert await owner_and_state(task["id"]) == (ObjectId(ada.id), "active")
