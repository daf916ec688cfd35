"""Renaming: the new name is seen at once, the copies in the database follow, whoever is interrupted."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId

from taskapi.accounts.users.documents import UserDocument
from taskapi.accounts.users.renaming_repository import SETTLING
from taskapi.core.clock import utc_now
from taskapi.db.connection import BSON
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.owner_name_repository import OwnerNameRepository
from tests.accounts.users.leavers import is_due, leave, remove
from tests.accounts.users.renamer import follow_due
from tests.client import Account, is_problem, stored, stored_task, stored_user
from tests.stored import collection, service
from tests.tools import PATIENCE_SECONDS

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("copies_wait")]


async def rename(account: Account, name: str) -> None:
    answer = await account.patch("/users/me", json={"username": name})
    assert (answer.status_code, answer.json()["username"]) == (200, name)


async def passes(account: Account, **times: timedelta) -> None:
    """Lets the time pass by which the work of ``account`` is ours again, and its copies are settled."""
    ago = {f"renaming.{name}": utc_now() - since for name, since in times.items()}
    await collection(UserDocument).update_one({"_id": ObjectId(account.id)}, {"$set": ago})


async def copies(account: Account) -> set[str]:
    """The names in all tasks of ``account``."""
    mine = {"owner_id": ObjectId(account.id)}
    names = set()
    for task in await collection(TaskDocument).find(mine).to_list(None):
        names |= {entry["by"]["username"] for entry in task["history"]} | {
            (task.get("owner") or task["trash"]["owner"])["username"]
        }
    return names


async def with_many(account: Account, number: int) -> None:
    task = await stored_task((await account.make_task())["id"])
    await collection(TaskDocument).insert_many([{**task, "_id": ObjectId()} for _ in range(number)])


async def test_the_new_name_is_shown_at_once_everywhere(ada: Account, bob: Account) -> None:
    kept, gone, theirs = await ada.make_task("kept"), await ada.make_task("gone"), await bob.make_task()
    await ada.delete(f"/tasks/{gone['id']}")
    await rename(ada, "countess")
    assert await copies(ada) == {"ada"}  # nobody has written them yet
    owner = {"id": ada.id, "username": "countess"}
    path = f"/tasks/{kept['id']}"
    for answer in (await ada.get(path), await ada.get(f"{path}?version=1"), await ada.patch(path, json={"priority": 4})):
        assert answer.json()["owner"] == owner
    assert (await ada.get(f"{path}?fields=owner")).json() == {"owner": owner}
    for answer in (await ada.get("/tasks"), await ada.get("/trash"), await ada.post("/tasks/search", json={})):
        assert [task["owner"] for task in answer.json()] == [owner]
    assert [entry["by"] for entry in (await ada.get(f"{path}/history")).json()] == [owner, owner]
    assert '"username":"countess"' in (await ada.get("/tasks/export")).text
    tested = [{"op": "test", "path": "/owner/username", "value": "countess"}, {"op": "replace", "path": "/priority", "value": 5}]
    patch = await ada.patch(path, json=tested, headers={"Content-Type": "application/json-patch+json"})
    assert patch.json()["priority"] == 5
    assert (await bob.get(f"/tasks/{theirs['id']}")).json() == theirs


async def test_copies_follow_and_nothing_else_changes(ada: Account, bob: Account) -> None:
    await with_many(ada, 250)
    gone = await ada.make_task("gone")
    await ada.delete(f"/tasks/{gone['id']}")
    await with_many(bob, 1)
    before = {task["_id"]: task for task in await collection(TaskDocument).find().to_list(None)}
    await rename(ada, "countess")
    await follow_due()
    assert (await copies(ada), await copies(bob)) == ({"countess"}, {"bob"})
    for task in await collection(TaskDocument).find().to_list(None):
        assert list(task) == list(before[task["_id"]])
        assert all(task[name] == before[task["_id"]][name] for name in task.keys() - {"owner", "trash", "history", "changed_at"})
    assert (await stored_user(ada.id))["renaming"].keys() == {"renamed_at", "due_at"}  # once more, for requests of before
    await passes(ada, renamed_at=SETTLING * 2, due_at=SETTLING)
    await follow_due()
    assert "renaming" not in await stored_user(ada.id)


async def test_late_write_with_the_old_name_is_corrected(ada: Account) -> None:
    await rename(ada, "countess")
    await follow_due()
    task = await stored_task((await ada.make_task())["id"])
    late = {**task["history"][0], "by": {"id": ObjectId(ada.id), "username": "ada"}}
    await collection(TaskDocument).update_one({"_id": task["_id"]}, {"$set": {"history": [late]}})
    await follow_due()
    assert await copies(ada) == {"countess", "ada"}  # it is not time yet
    await passes(ada, due_at=SETTLING)
    await follow_due()
    assert await copies(ada) == {"countess"}


async def test_of_two_renames_the_last_one_stays(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    await with_many(ada, 350)
    await rename(ada, "first")
    owner_names = service(OwnerNameRepository)
    write, names = owner_names.write, list[str]()

    async def renaming_meanwhile(user: ObjectId, name: str, ids: Any) -> int:
        if not names:
            await rename(ada, "second")
        names.append(name)
        return await write(user, name, ids)

    monkeypatch.setattr(owner_names, "write", renaming_meanwhile)
    await follow_due()
    assert names[0] == "first"
    assert set(names[1:]) == {"second"}
    assert await copies(ada) == {"second"}


@pytest.mark.parametrize("in_trash", [False, True])
@pytest.mark.parametrize("odd", [{}, {"owner": {"username": "ada"}}], ids=str)
async def test_task_with_another_owners_name_is_left_alone(ada: Account, bob: Account, odd: BSON, in_trash: bool) -> None:
    task = await ada.make_task()
    if in_trash:
        await ada.delete(f"/tasks/{task['id']}")
    values = {"owner_id": ObjectId(bob.id), **{f"trash.{name}" if in_trash else name: value for name, value in odd.items()}}
    await collection(TaskDocument).update_one({"_id": ObjectId(task["id"])}, {"$set": values})  # as a script gives it to Bob
    before = await stored_task(task["id"])
    await with_many(bob, 1)
    await rename(bob, "robert")
    await rename(ada, "countess")
    async with asyncio.timeout(PATIENCE_SECONDS):
        await follow_due()
    assert await stored_task(task["id"]) == before
    names = {each["owner"]["username"] async for each in collection(TaskDocument).find({"owner.id": ObjectId(bob.id)})}
    assert names == {"robert"}
    for account in (ada, bob):
        assert (await stored_user(account.id))["renaming"].keys() == {"renamed_at", "due_at"}


class Killed(Exception):
    """The power went."""


async def test_a_killed_worker_is_followed_by_another(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    await with_many(ada, 350)
    await rename(ada, "countess")
    owner_names = service(OwnerNameRepository)
    write, batches = owner_names.write, list[int]()

    async def killed_in_the_second(user: ObjectId, name: str, ids: Any) -> int:
        batches.append(len(ids))
        if len(batches) == 2:
            raise Killed
        return await write(user, name, ids)

    monkeypatch.setattr(owner_names, "write", killed_in_the_second)
    with pytest.raises(Killed):
        await follow_due()
    monkeypatch.setattr(owner_names, "write", write)
    await follow_due()
    assert await copies(ada) == {"ada", "countess"}  # as long as the lease lasts, they are another's
    await passes(ada, leased_until=timedelta(seconds=1))
    await follow_due()
    assert await copies(ada) == {"countess"}


async def test_an_account_that_is_removed_meanwhile_stays_removed(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    await with_many(ada, 250)
    await rename(ada, "countess")
    await leave(ada)
    await is_due(ada)
    owner_names = service(OwnerNameRepository)
    write, calls = owner_names.write, list[str]()

    async def removing_meanwhile(user: ObjectId, name: str, ids: Any) -> int:
        calls.append(name)
        await remove()
        return await write(user, name, ids)

    monkeypatch.setattr(owner_names, "write", removing_meanwhile)
    await follow_due()
    assert calls == ["countess"]
    assert await collection(TaskDocument).count_documents({}) == 0
    assert await stored(UserDocument, ada.id) is None


async def test_two_workers_write_each_name_once(ada: Account, bob: Account) -> None:
    for account, name in ((ada, "ada2"), (bob, "bob2")):
        await with_many(account, 150)
        await rename(account, name)
    await asyncio.gather(*(follow_due() for _ in range(4)))
    assert (await copies(ada), await copies(bob)) == ({"ada2"}, {"bob2"})


async def test_renaming_changes_entity_tags_but_not_versions(ada: Account) -> None:
    path = f"/tasks/{(await ada.make_task())['id']}"
    first = await ada.get(path)
    listed = await ada.get("/tasks")
    assert first.headers["etag"] == '"1"'
    await rename(ada, "countess")
    await rename(ada, "ada")
    again = await ada.get(path, headers={"If-None-Match": '"1"'})
    assert (again.status_code, again.headers["etag"], again.json()) == (200, '"1.2"', first.json())
    assert (await ada.get(path, headers={"If-None-Match": 'W/"1.2"'})).status_code == 304
    await rename(ada, "countess")
    assert (await ada.get("/tasks", headers={"If-None-Match": listed.headers["etag"]})).status_code == 200
    await follow_due()
    assert (await ada.get(path)).headers["etag"] == '"1.3"'
    # A change concerns the version alone: no edit is refused because of a name.
    for version, tag in enumerate(('"1"', '"2.2"', '"3.3"', 'W/"4.3-gzip"'), 2):
        changed = await ada.patch(path, json={"priority": version % 5 + 1}, headers={"If-Match": tag})
        assert (changed.status_code, changed.headers["etag"]) == (200, f'"{version}.3"')
    for tag in ('"4.3"', '"5.x"', '"5."', '"5.3.1"', '"5.0"'):
        is_problem(await ada.patch(path, json={"priority": 1}, headers={"If-Match": tag}), 412, "precondition_failed")


async def test_the_same_name_again_is_no_change(ada: Account, copies_wait: list[None]) -> None:
    await rename(ada, "ada")
    assert {"renames", "renaming"}.isdisjoint(await stored_user(ada.id))
    assert copies_wait == []
    await rename(ada, "Ada")
    assert copies_wait == [None]
    assert (await stored_user(ada.id))["renames"] == 1
