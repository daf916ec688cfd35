"""The start date of a task, which is never after the due date, whichever of them is written."""

from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId

from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, stored_task, wrong_fields
from tests.stored import collection
from tests.tasks.import_export.test_importer import take

pytestmark = pytest.mark.real

JSON_PATCH = {"Content-Type": "application/json-patch+json"}


async def of_old(account: Account) -> dict[str, Any]:
    """A task without the field, as version 1.4 stored it."""
    task = await account.make_task("Old")
    await collection(TaskDocument).update_one({"_id": ObjectId(task["id"])}, {"$unset": {"start_date": ""}})
    return task


async def test_it_is_written_read_and_emptied(ada: Account) -> None:
    task = await ada.make_task("task", start_date="2027-01-11")
    assert task["start_date"] == "2027-01-11"
    path = f"/tasks/{task['id']}"
    assert (await ada.get(f"{path}?fields=start_date")).json() == {"start_date": "2027-01-11"}
    assert (await ada.patch(path, json={"start_date": None})).json()["start_date"] is None
    assert (await ada.put(path, json={"start_date": "2027-01-12"})).json()["start_date"] == "2027-01-12"
    removed = await ada.patch(path, json=[{"op": "remove", "path": "/start_date"}], headers=JSON_PATCH)
    assert removed.json()["start_date"] is None
    assert (await ada.make_task("task"))["start_date"] is None


async def test_a_task_of_an_earlier_version_has_none(ada: Account) -> None:
    task = await of_old(ada)
    path = f"/tasks/{task['id']}"
    assert (await ada.get(path)).json() == task
    assert (await ada.get(f"{path}?fields=start_date")).json() == {"start_date": None}
    assert [each["id"] for each in (await ada.get('/tasks?where={"start_date":null}')).json()] == [task["id"]]
    assert (await ada.patch(path, json={"title": "New"})).json()["start_date"] is None
    await ada.patch(path, json={"start_date": "2027-01-11"})
    newest = (await ada.get(f"{path}/history")).json()[0]
    assert newest["changes"] == {"start_date": {"before": None, "after": "2027-01-11"}}
    reverted = await ada.post(f"{path}/revert", json={"version": 1})
    assert (reverted.json()["start_date"], reverted.json()["title"]) == (None, "Old")


async def test_lists_are_filtered_and_sorted_by_it(ada: Account) -> None:
    await of_old(ada)
    for day in (13, 11, 12):
        await ada.make_task(f"Day {day}", start_date=f"2027-01-{day}")

    async def titles(query: str) -> list[str]:
        return [task["title"] for task in (await ada.get(f"/tasks?{query}")).json()]

    assert await titles("sort=start_date") == ["Old", "Day 11", "Day 12", "Day 13"]
    assert await titles("sort=-start_date") == ["Day 13", "Day 12", "Day 11", "Old"]
    assert await titles("start_before=2027-01-12") == ["Day 11"]
    assert await titles("start_after=2027-01-12") == ["Day 13"]
    assert await titles("start_before=today&sort=title") == []
    assert await titles('sort=start_date&where={"start_date":{"$gte":"2027-01-12"}}') == ["Day 12", "Day 13"]
    first = await ada.get("/tasks?sort=start_date&limit=2")
    rest = await ada.get(f"/tasks?sort=start_date&cursor={first.headers['X-Next-Cursor']}")
    assert [task["title"] for task in rest.json()] == ["Day 12", "Day 13"]


@pytest.mark.parametrize(("kind", "path"), [("text/csv", "/tasks/export?format=csv"), ("application/x-ndjson", "/tasks/export")])
async def test_it_is_exported_and_imported(ada: Account, bob: Account, kind: str, path: str) -> None:
    await ada.make_task("Begun", start_date="2027-01-11", due_date="2027-01-11")
    await ada.make_task("Not begun")
    await bob.post("/tasks/import", content=(await ada.get(path)).content, headers={"Content-Type": kind})
    found = {task["title"]: task["start_date"] for task in (await bob.get("/tasks")).json()}
    assert found == {"Begun": "2027-01-11", "Not begun": None}


WRONG = {"start_date": "wrong_order"}
LATE = {"start_date": "2027-02-01"}
EARLY = {"due_date": "2027-01-01"}


async def refused(account: Account, task: dict[str, Any], changes: dict[str, Any]) -> list[dict[str, str]]:
    """The faults of ``changes`` for each way to change a task."""
    path = f"/tasks/{task['id']}"
    operations = [{"op": "replace", "path": f"/{name}", "value": value} for name, value in changes.items()]
    bulk = {"operations": [{"op": "update", "id": task["id"], "changes": changes}]}
    single = await account.post("/tasks/bulk", json=bulk)
    faults = single.json()[0]["error"]["details"]
    lines = await take(account, [{"title": "task", "key": "k", **changes}])
    answers = [
        await account.patch(path, json=changes),
        await account.patch(path, json={**changes, "metadata": {"a": 1}}),
        await account.patch(path, json=operations, headers=JSON_PATCH),
        await account.put(path, json=changes),
        await account.put(path, json={**task, **changes}),
        await account.patch("/tasks?where={}", json=changes),
        await account.patch("/tasks?where={}&expect=2", json=changes),
        await account.patch("/tasks?where={}&dry_run=true", json=changes),
        await account.patch("/tasks?where={}&dry_run=true", json={**changes, "metadata": {"a": 1}}),
    ]
    assert lines["failed"] == 1
    assert (await account.get(path)).json() == task
    return [
        *map(wrong_fields, answers),
        {fault["field"].rpartition(".")[2]: fault["type"] for fault in faults},
        {fault["field"]: fault["type"] for fault in lines["errors"]},
    ]


async def test_it_is_never_after_the_due_date(ada: Account) -> None:
    both = {"start_date": "2027-01-11", "due_date": "2027-01-31"}
    assert wrong_fields(await ada.post("/tasks", json={"title": "task", **both, **LATE})) == WRONG
    await take(ada, [{"title": "task", "key": "k", **both}])
    await ada.make_task("Another")
    (task,) = [each for each in (await ada.get("/tasks")).json() if each["key"]]
    ways = await refused(ada, task, LATE)
    assert ways == [WRONG] * len(ways)
    ways = await refused(ada, task, EARLY)
    assert [way for way in ways if way not in ({"due_date": "wrong_order"}, WRONG)] == []
    ways = await refused(ada, task, {"start_date": "2027-03-01", "due_date": "2027-02-28"})
    assert [way for way in ways if "wrong_order" not in way.values()] == []
    for changes in ({**EARLY, "start_date": None}, {"due_date": None, **LATE}, {"start_date": None}, both):
        assert (await ada.patch(f"/tasks/{task['id']}", json=changes)).status_code == 200
    assert (await ada.patch("/tasks?where={}", json={"start_date": "2027-01-31"})).json()["changed"] == 2


async def test_going_back_brings_both_dates_back(ada: Account) -> None:
    task = await ada.make_task("task", start_date="2027-01-11", due_date="2027-01-31")
    path = f"/tasks/{task['id']}"
    await ada.patch(path, json={"start_date": "2027-03-01", "due_date": "2027-03-31"})
    back = (await ada.post(f"{path}/revert", json={"version": 1})).json()
    assert (back["start_date"], back["due_date"]) == ("2027-01-11", "2027-01-31")


async def test_a_stale_version_is_refused_before_the_rule(ada: Account) -> None:
    task = await ada.make_task("task", due_date="2027-01-31")
    path = f"/tasks/{task['id']}"
    assert (await ada.patch(path, json=LATE, headers={"If-Match": '"7"'})).status_code == 412
    assert (await ada.patch(f"/tasks/{ObjectId()}", json=LATE)).status_code == 404
    assert (await stored_task(task["id"]))["version"] == 1


@pytest.mark.parametrize(
    ("stored", "shown", "is_broken"),
    [
        ("2027-02-01", "2027-02-01", True),
        ("2027-01-11", "2027-01-11", False),
        (datetime(2027, 1, 31, 23, tzinfo=UTC), "2027-01-31", False),
        ([datetime(2027, 2, 1, tzinfo=UTC)], None, False),
        (7, None, False),
    ],
)
async def test_damaged_dates_are_judged_as_they_are_shown(ada: Account, stored: Any, shown: str | None, is_broken: bool) -> None:
    tasks = [await ada.make_task("one"), await ada.make_task("other")]
    for task in tasks:
        await collection(TaskDocument).update_one({"_id": ObjectId(task["id"])}, {"$set": {"start_date": stored}})
    assert (await ada.get(f"/tasks/{tasks[0]['id']}")).json()["start_date"] == shown
    for path in (f"/tasks/{tasks[0]['id']}", "/tasks?where={}&dry_run=true", "/tasks?where={}&expect=2", "/tasks?where={}"):
        answer = await ada.patch(path, json={"due_date": "2027-01-31"})
        assert answer.status_code == (422 if is_broken else 200), path
    assert (await stored_task(tasks[1]["id"]))["version"] == (1 if is_broken else 3)
    if not is_broken:
        assert answer.json() == {"matched": 2, "changed": 2}
