"""PUT of a whole task as it was read: the server's fields may be included, but only unchanged."""

import asyncio
import json
from typing import Any

import pytest
from bson import ObjectId

from taskapi.tasks.schemas import TaskRead
from taskapi.tasks.services.json_patch import READ_ONLY
from taskapi.tasks.services.put import TaskPut
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, is_problem, stored_task, wrong_fields
from tests.stored import collection
from tests.tasks.import_export.test_export import RICH
from tests.tasks.import_export.test_importer import take, tasks_of

pytestmark = pytest.mark.real


def test_it_takes_what_a_task_shows() -> None:
    assert TaskPut.model_fields.keys() == TaskRead.model_fields.keys()


async def test_task_sent_back_as_read_stays_unchanged(ada: Account) -> None:
    done = {"status": "done", "completed_at": "2026-01-02T00:00:00Z", "created_at": "2026-01-01T00:00:00.5Z"}
    await take(ada, [{**RICH, "key": "k", **done}])
    await ada.make_task("plain")
    for task in await tasks_of(ada):
        assert set(READ_ONLY) < task.keys()
        answer = await ada.put(f"/tasks/{task['id']}", json=task)
        assert answer.status_code == 200, answer.text
        after = answer.json()
        assert after == {**task, "version": task["version"] + 1, "updated_at": after["updated_at"]}
        assert (await ada.get(f"/tasks/{task['id']}")).json() == after
        changed = {**after, "title": "Changed", "status": "in_progress", "completed": False, "due_date": None}
        again = (await ada.put(f"/tasks/{task['id']}", json=changed, headers={"If-Match": f'"{after["version"]}"'})).json()
        assert (again["title"], again["status"], again["completed_at"], again["due_date"]) == (
            "Changed",
            "in_progress",
            None,
            None,
        )
        assert again["checklist"] == task["checklist"]


async def test_other_spellings_of_equal_values_change_nothing(ada: Account) -> None:
    task = await ada.make_task("done", status="done")
    moments = {name: task[name].replace("Z", "000+00:00") for name in ("created_at", "updated_at", "completed_at")}
    body = {**task, **moments, "id": task["id"].upper(), "progress": 1}
    assert (await ada.put(f"/tasks/{task['id']}", json=body)).status_code == 200


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("id", [str(ObjectId())]),
        ("completed_at", ["2026-01-02T00:00:00Z"]),
        ("progress", [0.5]),
        ("key", ["k"]),
        ("owner", [{"id": str(ObjectId()), "username": "ada"}, {"username": "ada"}, {}]),
        ("created_at", ["2026-01-02T00:00:00Z"]),
        ("updated_at", ["2026-01-02T00:00:00Z"]),
        ("version", [2, 0, -1, 10**30]),
    ],
)
async def test_a_difference_is_named_and_nothing_is_written(ada: Account, name: str, values: list[Any]) -> None:
    task = await ada.make_task()
    before = await stored_task(task["id"])
    for value in values:
        for body in ({**task, "title": "Changed", name: value}, {name: value}):
            assert wrong_fields(await ada.put(f"/tasks/{task['id']}", json=body)) == {name: "read_only"}
    for value in ("x", [], None, True):
        if value != task[name]:
            assert list(wrong_fields(await ada.put(f"/tasks/{task['id']}", json={**task, name: value}))) == [name]
    assert wrong_fields(await ada.patch(f"/tasks/{task['id']}", json={name: task[name]})) == {name: "extra_forbidden"}
    assert await stored_task(task["id"]) == before


async def test_stale_copy_names_its_outdated_fields(ada: Account) -> None:
    task = await ada.make_task()
    path = f"/tasks/{task['id']}"
    await ada.patch(path, json={"status": "done", "metadata": {"a": 1}})
    stale = {"completed_at", "progress", "updated_at", "version"}
    assert wrong_fields(await ada.put(path, json=task)) == dict.fromkeys(stale, "read_only")
    is_problem(await ada.put(path, json=task, headers={"If-Match": '"1"'}), 412, "precondition_failed")
    is_problem(await ada.put(f"/tasks/{ObjectId()}", json=task), 404, "not_found")


async def test_copy_from_before_a_renaming_is_accepted(ada: Account) -> None:
    """A new name is neither a new version nor an event: clients with a copy do not learn of it."""
    task = await ada.make_task()
    path = f"/tasks/{task['id']}"
    assert (await ada.patch("/users/me", json={"username": "countess"})).status_code == 200
    answer = await ada.put(path, json={**task, "title": "Changed"}, headers={"If-Match": '"1"'})
    assert answer.status_code == 200, answer.text
    assert answer.json()["owner"] == {"id": ada.id, "username": "countess"}
    for owner in ({"id": ada.id}, {"id": ada.id, "username": 1}, {"id": ada.id, "username": "ada", "role": "admin"}):
        assert wrong_fields(await ada.put(path, json={"owner": owner})) == {"owner": "read_only"}


async def test_one_of_many_concurrent_copies_is_accepted(ada: Account) -> None:
    """The comparison holds for the version that is written."""
    task = await ada.make_task()
    bodies = [{**task, "title": f"by {number}"} for number in range(12)]
    answers = await asyncio.gather(*(ada.put(f"/tasks/{task['id']}", json=body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [200, *[422] * 11]
    assert (await ada.get(f"/tasks/{task['id']}")).json()["version"] == 2


async def test_metadata_is_merged_unless_sent_unchanged(ada: Account) -> None:
    task = await ada.make_task(metadata={"a": None, "b": {"c": 1}})
    path = f"/tasks/{task['id']}"
    same = (await ada.put(path, json={**task, "title": "Changed"})).json()
    assert same["metadata"] == task["metadata"]
    merged = (await ada.put(path, json={**same, "metadata": {"b": {"d": 2.0}}})).json()
    assert merged["metadata"] == {"a": None, "b": {"c": 1, "d": 2.0}}
    emptied = (await ada.put(path, json={**merged, "metadata": None})).json()
    assert emptied["metadata"] == {}
    assert wrong_fields(await ada.put(path, json={**emptied, "metadata": {"$a": 1}})) == {"metadata": "metadata_key"}


async def test_metadata_as_javascript_writes_it_is_unchanged(ada: Account) -> None:
    task = await ada.make_task(metadata={"note": None, "rates": [{"hour": 80.0}, -0.0, 0.5], "on": True})
    as_written = {"note": None, "rates": [{"hour": 80}, 0, 0.5], "on": True}
    path = f"/tasks/{task['id']}"
    same = await ada.put(path, json={**task, "title": "Changed", "metadata": as_written})
    assert json.dumps(same.json()["metadata"]) == json.dumps(task["metadata"])
    merged = await ada.put(path, json={**same.json(), "metadata": {"on": 1}})
    assert json.dumps(merged.json()["metadata"]) == json.dumps({**task["metadata"], "on": 1})


async def test_task_of_an_older_version_can_be_returned(ada: Account) -> None:
    task = await ada.make_task()
    old = {"checklist": "", "metadata": "", "progress": "", "history": ""}
    await collection(TaskDocument).update_one({"_id": ObjectId(task["id"])}, {"$unset": old})
    read = (await ada.get(f"/tasks/{task['id']}")).json()
    assert (await ada.put(f"/tasks/{task['id']}", json=read)).status_code == 200


async def test_nothing_but_the_servers_fields_writes_nothing(ada: Account) -> None:
    task = await ada.make_task()
    body = {name: task[name] for name in READ_ONLY}
    assert (await ada.put(f"/tasks/{task['id']}", json=body)).json() == task
    assert (await stored_task(task["id"]))["version"] == 1
