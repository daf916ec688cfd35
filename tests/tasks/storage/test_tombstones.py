"""Tombstones: what stays of a purged task is seen by scripts alone, and is in nobody's way."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from bson import Int64, ObjectId
from fastapi import FastAPI

from taskapi.core.background import Jobs
from taskapi.core.clock import utc_now
from taskapi.db.connection import Database
from taskapi.tasks.services.trash import TrashService
from taskapi.tasks.storage.documents import TaskDocument, Tombstone
from tests.client import Account, is_problem, stored_task
from tests.conftest import another
from tests.stored import collection, service
from tests.tasks.import_export.test_export import RICH
from tests.tasks.import_export.test_importer import take
from tests.web.idempotency.records import forget_answer

pytestmark = pytest.mark.real

DAYS = timedelta(days=30)
MINUTE = timedelta(minutes=1)
BY_ID = "?match=id"


async def deleted(account: Account, **fields: Any) -> str:
    task_id = str((await account.make_task(**{**RICH, **fields}))["id"])
    assert (await account.delete(f"/tasks/{task_id}")).status_code == 204
    return task_id


async def purged(account: Account, **fields: Any) -> str:
    task_id = await deleted(account, **fields)
    assert (await account.delete(f"/trash/{task_id}")).status_code == 204
    return task_id


async def expire(task_id: str) -> None:
    at = {"trash.expires_at": utc_now()}
    assert (await collection(TaskDocument).update_one({"_id": ObjectId(task_id)}, {"$set": at})).matched_count == 1


async def test_purged_task_leaves_nothing_but_a_tombstone(ada: Account) -> None:
    task_id = await deleted(ada)
    before = await stored_task(task_id)
    await ada.delete(f"/trash/{task_id}")
    left = await stored_task(task_id)
    assert left.keys() == {"_id"} | Tombstone.model_fields.keys() - {"id"}
    assert {name: left[name] for name in ("_id", "owner_id", "created_at")} == {
        "_id": ObjectId(task_id),
        "owner_id": ObjectId(ada.id),
        "created_at": before["created_at"],
    }
    assert (left["state"], left["version"]) == ("purged", before["version"] + 1)
    assert left["changed_at"] > before["changed_at"]
    assert abs(left["expires_at"] - left["changed_at"] - DAYS) < MINUTE
    Tombstone.model_validate({**left, "id": left["_id"]})


async def test_a_longer_time_holds_for_new_tombstones(ada: Account) -> None:
    """Those that are there get it by the command in docs/changes.md."""
    old = await purged(ada)
    before = await stored_task(old)
    async with another(trash_days=90) as client:
        new = await purged(replace(ada, client=client))
        assert abs((await stored_task(new))["expires_at"] - utc_now().replace(tzinfo=None) - 3 * DAYS) < MINUTE
        assert await stored_task(old) == before
        longer = {"$add": ["$changed_at", 90 * 86_400_000]}
        await service(Database).collection(TaskDocument).update_many({"state": "purged"}, [{"$set": {"expires_at": longer}}])
    assert await stored_task(old) == {**before, "expires_at": before["changed_at"] + 3 * DAYS}


async def test_mongodb_removes_tombstones_and_nothing_else(ada: Account) -> None:
    indexes = await collection(TaskDocument).index_information()
    lasting = {name: index["key"] for name, index in indexes.items() if "expireAfterSeconds" in index}
    assert lasting == {"tombstone_expiry": [("expires_at", 1)]}
    assert indexes["tombstone_expiry"]["expireAfterSeconds"] == 0
    for task_id in (str((await ada.make_task())["id"]), await deleted(ada)):
        assert "expires_at" not in await stored_task(task_id)
    assert isinstance((await stored_task(await purged(ada)))["expires_at"], datetime)


async def test_expired_tasks_become_tombstones_and_no_others(ada: Account, bob: Account) -> None:
    expired = [await deleted(account) for account in (ada, bob, bob)]
    kept = [await deleted(ada), str((await ada.make_task())["id"]), await purged(bob)]
    for task_id in expired:
        await expire(task_id)
    before = [await stored_task(task_id) for task_id in kept]
    await asyncio.gather(*(service(TrashService).purge_expired() for _ in range(4)))
    assert [await stored_task(task_id) for task_id in kept] == before
    for task_id in expired:
        left = await stored_task(task_id)
        assert (left["state"], left["version"], "title" in left) == ("purged", 3, False)


def test_job_purges_what_has_expired(app: FastAPI) -> None:
    assert "trash expiry" in {job.name for job in app.state.services[Jobs]}


@pytest.mark.parametrize("damaged", [{"created_at": "long ago"}, {"version": "two"}, {"trash.deleted_at": [1]}], ids=str)
async def test_damaged_task_becomes_a_sound_tombstone(ada: Account, damaged: Any) -> None:
    task_id = await deleted(ada)
    await collection(TaskDocument).update_one({"_id": ObjectId(task_id)}, {"$set": damaged})
    await expire(task_id)
    await service(TrashService).purge_expired()
    left = await stored_task(task_id)
    Tombstone.model_validate({**left, "id": left["_id"]})


async def test_unwritable_task_keeps_no_other_in_the_trash(ada: Account, bob: Account) -> None:
    task_ids = [await deleted(account) for account in (ada, bob, ada, bob)]
    for task_id in task_ids:
        await expire(task_id)
    await collection(TaskDocument).update_one({"_id": ObjectId(task_ids[2])}, {"$set": {"version": Int64(2**63 - 1)}})
    await service(TrashService).purge_expired()
    assert [(await stored_task(task_id))["state"] for task_id in task_ids] == ["purged", "purged", "trash", "purged"]


async def test_no_route_shows_a_tombstone(ada: Account) -> None:
    task_id, alive = await purged(ada, title="Gone"), await ada.make_task("Alive")
    for path in ("/tasks", "/tasks?limit=1&count=exact", "/tasks?sort=title", "/tasks?q=alive", "/trash", "/tasks/export"):
        answer = await ada.get(path)
        assert task_id not in answer.text
        assert answer.headers.get("x-total-count", "1") == ("0" if path == "/trash" else "1")
    for path in ("", "/history", "/summary", "?version=1"):
        is_problem(await ada.get(f"/tasks/{task_id}{path}"), 404, "not_found")
    is_problem(await ada.patch(f"/tasks/{task_id}", json={"priority": 5}), 404, "not_found")
    is_problem(await ada.delete(f"/tasks/{task_id}"), 404, "not_found")
    is_problem(await ada.post(f"/tasks/{task_id}/restore"), 404, "not_found")
    is_problem(await ada.delete(f"/trash/{task_id}"), 404, "not_found")
    assert (await ada.patch("/tasks?where={}", json={"priority": 5})).json() == {"matched": 1, "changed": 1}
    assert (await ada.post("/tasks/search", json={})).json()[0]["id"] == alive["id"]
    answer = await ada.post("/tasks/bulk", json={"operations": [{"op": "update", "id": task_id, "changes": {"priority": 5}}]})
    assert answer.json()[0]["status"] == 404


@pytest.mark.parametrize("times", [1, 2])
async def test_purged_task_can_be_imported_by_its_id(ada: Account, times: int) -> None:
    line = {"id": await purged(ada), "title": "Back", "key": "k"}
    for number in range(times):
        assert await take(ada, [line, {"title": "Another"}], BY_ID + "&dry_run=true") == {"lines": 2, "created": 2}
        assert await take(ada, [line, {"title": "Another"}], BY_ID) == {"lines": 2, "created": 2}
        (task,) = (await ada.get("/tasks?where={%22key%22:%22k%22}")).json()
        assert (task["title"], task["version"]) == ("Back", 1 + 3 * number)  # after its deletion and purge
        last = await stored_task(task["id"])
        assert await take(ada, [line], BY_ID) == {"lines": 1, "unchanged": 1}
        await ada.delete(f"/tasks/{task['id']}")
        await ada.delete(f"/trash/{task['id']}")
        assert (await stored_task(task["id"]))["changed_at"] > last["changed_at"]


async def test_task_in_place_of_tombstone_is_marked_later(ada: Account) -> None:
    line = {"id": str(ObjectId()), "title": "Back"}
    await take(ada, [line], BY_ID)
    (task,) = (await ada.get("/tasks")).json()
    await ada.delete(f"/tasks/{task['id']}")
    await ada.delete(f"/trash/{task['id']}")
    ahead = (utc_now() + MINUTE).replace(tzinfo=None)
    await collection(TaskDocument).update_one({}, {"$set": {"changed_at": ahead}})
    assert await take(ada, [line, {"title": "New", "key": "k"}], BY_ID) == {"lines": 2, "created": 2}
    assert (await stored_task(task["id"]))["changed_at"] > ahead
    assert await take(ada, [{"title": "Newer", "key": "k"}, {**line, "title": "Changed"}], BY_ID) == {"lines": 2, "updated": 2}


async def test_task_in_place_of_tombstone_continues_versions(ada: Account) -> None:
    line = {"id": str(ObjectId()), "title": "First life"}
    await take(ada, [line], BY_ID)
    (first,) = (await ada.get("/tasks")).json()
    path = f"/tasks/{first['id']}"
    etag = (await ada.get(path)).headers["etag"]
    await ada.delete(path)
    await ada.delete(f"/trash/{first['id']}")
    assert await take(ada, [{**line, "title": "Second life"}], BY_ID) == {"lines": 1, "created": 1}
    answer = await ada.get(path, headers={"If-None-Match": etag})
    assert (answer.status_code, answer.json()["title"], answer.json()["version"]) == (200, "Second life", 4)
    is_problem(await ada.patch(path, json={"priority": 5}, headers={"If-Match": etag}), 412, "precondition_failed")
    await ada.patch(path, json={"priority": 5})
    stored = await stored_task(first["id"])
    assert [(entry["version"], entry["action"]) for entry in stored["history"]] == [(4, "create"), (5, "update")]
    assert [entry["version"] for entry in (await ada.get(f"{path}/history")).json()] == [5, 4]
    assert (await ada.get(f"{path}?version=4")).json()["priority"] == 1
    is_problem(await ada.get(f"{path}?version=1"), 410, "version_not_kept")
    is_problem(await ada.post(f"{path}/revert", json={"version": 3}), 410, "version_not_kept")
    assert (await ada.post(f"{path}/revert", json={"version": 4})).json()["priority"] == 1
    assert await take(ada, [{**line, "title": "Second life"}], BY_ID) == {"lines": 1, "unchanged": 1}


async def test_two_imports_put_one_task_in_its_place(ada: Account) -> None:
    line = {"id": str(ObjectId()), "title": "Back"}
    await take(ada, [line], BY_ID)
    (task,) = (await ada.get("/tasks")).json()
    await ada.delete(f"/tasks/{task['id']}")
    await ada.delete(f"/trash/{task['id']}")
    reports = await asyncio.gather(*(take(ada, [line], BY_ID) for _ in range(8)))
    assert sorted(map(str, reports)) == sorted(map(str, [{"lines": 1, "created": 1}, *[{"lines": 1, "unchanged": 1}] * 7]))
    assert len((await ada.get("/tasks")).json()) == 1


async def test_key_of_purged_task_is_free(ada: Account) -> None:
    for _ in range(2):
        assert await take(ada, [{"title": "A task", "key": "k"}]) == {"lines": 1, "created": 1}
        (task,) = (await ada.get("/tasks")).json()
        await ada.delete(f"/tasks/{task['id']}")
        await ada.delete(f"/trash/{task['id']}")


@pytest.mark.parametrize("path", ["/tasks", "/tasks/bulk", "/tasks/bulk?atomic=true"])
async def test_repeated_create_finds_its_purged_task(ada: Account, path: str) -> None:
    """The first run has stored the task but not its answer; the task has been purged since."""
    new = {"title": "Once"}
    body = new if path == "/tasks" else {"operations": [{"op": "create", "task": new}]}
    first = await ada.post(path, json=body, headers={"Idempotency-Key": "once"})
    task_id = first.json()["id"] if path == "/tasks" else first.json()[0]["id"]
    await ada.delete(f"/tasks/{task_id}")
    await ada.delete(f"/trash/{task_id}")
    await forget_answer()
    again = await ada.post(path, json=body, headers={"Idempotency-Key": "once"})
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert (await ada.get("/tasks")).json() == []


async def test_import_repeated_after_purge_creates_nothing(ada: Account) -> None:
    async def send() -> Any:
        return (await ada.post("/tasks/import", json=[{"title": "Once"}], headers={"Idempotency-Key": "once"})).json()

    first = await send()
    (task,) = (await ada.get("/tasks")).json()
    await ada.delete(f"/tasks/{task['id']}")
    await ada.delete(f"/trash/{task['id']}")
    await forget_answer()
    assert await send() == first
    assert (await ada.get("/tasks")).json() == []
