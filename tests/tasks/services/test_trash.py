"""The trash: tasks in it are hidden from every read, and can be restored completely or erased."""

import asyncio
from datetime import timedelta

import pytest

from taskapi.core.clock import utc_now
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, is_problem, stored, stored_task, wrong_fields
from tests.stored import collection
from tests.tasks.services.restoring import restore_before_the_look


async def deleted(account: Account, title: str = "A task") -> dict[str, object]:
    task = await account.make_task(title)
    assert (await account.delete(f"/tasks/{task['id']}")).status_code == 204
    return task


async def test_a_deleted_task_is_in_the_trash_alone(ada: Account, bob: Account) -> None:
    task = await deleted(ada)
    is_problem(await ada.get(f"/tasks/{task['id']}"), 404, "not_found")
    is_problem(await ada.get(f"/tasks/{task['id']}/history"), 404, "not_found")
    is_problem(await ada.get(f"/tasks/{task['id']}?version=1"), 404, "not_found")
    answer = await ada.get("/trash")
    (found,) = answer.json()
    assert answer.headers["x-total-count"] == "1"
    assert {name: found[name] for name in task} == {**task, "version": 2}
    kept = await stored_task(str(task["id"]))
    assert kept["trash"]["expires_at"] - kept["trash"]["deleted_at"] == timedelta(days=30)
    assert found["expires_at"] == kept["trash"]["expires_at"].isoformat(timespec="milliseconds") + "Z"
    assert (await bob.get("/trash")).json() == []


@pytest.mark.real
async def test_a_restored_task_is_what_it_was(ada: Account) -> None:
    task = await deleted(ada)
    answer = await ada.post(f"/tasks/{task['id']}/restore")
    assert (answer.status_code, answer.headers["etag"]) == (200, '"3"')
    assert answer.json() == {**task, "version": 3}
    assert (await ada.get(f"/tasks/{task['id']}")).json() == answer.json()
    assert (await ada.get("/trash")).json() == []
    assert "trash" not in await stored_task(str(task["id"]))


@pytest.mark.real
async def test_restoring_can_be_repeated_until_something_else_happens(ada: Account, bob: Account) -> None:
    path = f"/tasks/{(await deleted(ada))['id']}"
    first = await ada.post(f"{path}/restore")
    again = await ada.post(f"{path}/restore")
    assert (again.status_code, again.json()) == (200, first.json())
    is_problem(await bob.post(f"{path}/restore"), 404, "not_found")
    await ada.patch(path, json={"priority": 2})
    is_problem(await ada.post(f"{path}/restore"), 404, "not_found")


@pytest.mark.real
async def test_restored_task_gets_the_current_owner_name(ada: Account) -> None:
    task = await deleted(ada)
    await ada.patch("/users/me", json={"username": "countess"})
    assert (await ada.post(f"/tasks/{task['id']}/restore")).json()["owner"]["username"] == "countess"


async def test_removed_for_good(ada: Account) -> None:
    task = await deleted(ada)
    answer = await ada.delete(f"/trash/{task['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "title" not in await stored_task(str(task["id"]))
    is_problem(await ada.delete(f"/trash/{task['id']}"), 404, "not_found")


async def test_trash_holds_only_trashed_tasks_of_its_owner(ada: Account, bob: Account) -> None:
    task, alive = await deleted(ada), await ada.make_task("Alive")
    for path in (f"/tasks/{task['id']}/restore", f"/tasks/{alive['id']}/restore", "/tasks/nonsense/restore"):
        is_problem(await bob.post(path), 404, "not_found")
    for task_id in (task["id"], alive["id"], "nonsense"):
        is_problem(await bob.delete(f"/trash/{task_id}"), 404, "not_found")
    is_problem(await ada.delete(f"/trash/{alive['id']}"), 404, "not_found")
    assert await stored(TaskDocument, str(task["id"]))
    assert await stored(TaskDocument, alive["id"])


async def test_the_trash_has_pages_last_deleted_first(ada: Account) -> None:
    for n in range(5):
        await deleted(ada, f"Task {n}")
    answer = await ada.get("/trash?limit=2&offset=2")
    assert [task["title"] for task in answer.json()] == ["Task 2", "Task 1"]
    assert answer.headers["x-total-count"] == "5"
    assert '</trash?limit=2&offset=4>; rel="next"' in answer.headers["link"]
    assert wrong_fields(await ada.get("/trash?limit=0&colour=red")) == {
        "limit": "greater_than_equal",
        "colour": "extra_forbidden",
    }


async def test_expired_tasks_are_gone_before_they_are_purged(ada: Account) -> None:
    task = await deleted(ada)
    await collection(TaskDocument).update_one({}, {"$set": {"trash.expires_at": utc_now()}})
    assert (await ada.get("/trash")).json() == []
    is_problem(await ada.post(f"/tasks/{task['id']}/restore"), 404, "not_found")
    is_problem(await ada.delete(f"/trash/{task['id']}"), 404, "not_found")


@pytest.mark.real
async def test_one_of_many_concurrent_restores_or_deletions_wins(ada: Account) -> None:
    task = await deleted(ada)
    restored = await asyncio.gather(*(ada.post(f"/tasks/{task['id']}/restore") for _ in range(10)))
    assert {(answer.status_code, answer.headers["etag"]) for answer in restored} == {(200, '"3"')}
    gone = await asyncio.gather(*(ada.delete(f"/tasks/{task['id']}") for _ in range(10)))
    assert sorted(answer.status_code for answer in gone) == [204] + [404] * 9


@pytest.mark.real
async def test_task_restored_before_the_look_is_deleted(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"/tasks/{(await deleted(ada))['id']}"
    restore_before_the_look(ada, monkeypatch, path)
    assert (await ada.delete(path)).status_code == 204
    kept = await stored_task(path.split("/")[2])
    assert (kept["state"], kept["version"]) == ("trash", 4)
