"""An import by id: an export restores what has changed or was deleted, duplicates nothing, and reveals nothing of others."""

import asyncio
import random
from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId

from taskapi.core.clock import utc_now
from taskapi.core.ids import id_within
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, is_problem, stored_task, wrong_fields
from tests.stored import collection
from tests.tasks.import_export import test_csv_reader
from tests.tasks.import_export.test_export import RICH
from tests.tasks.import_export.test_importer import JSONL, count, jsonl, take, tasks_of

pytestmark = pytest.mark.real

BY_ID = "?match=id"


async def take_alike(account: Account, content: Any) -> dict[str, Any]:
    """Imports by id, after a dry run that must report the same and write nothing."""
    before = await tasks_of(account)
    said = await take(account, content, f"{BY_ID}&dry_run=true")
    assert await tasks_of(account) == before
    assert await take(account, content, BY_ID) == said
    return said


def without(tasks: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [{name: value for name, value in task.items() if name not in names} for task in tasks]


async def purge(account: Account, task: dict[str, Any]) -> None:
    assert (await account.delete(f"/tasks/{task['id']}")).status_code == 204
    assert (await account.delete(f"/trash/{task['id']}")).status_code == 204


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
async def test_an_export_restores_what_was_changed_and_deleted(ada: Account, kind: str) -> None:
    await ada.make_task(**RICH)
    lines = [
        {"title": f"task {number}", "key": str(number), "created_at": f"2020-01-0{number}T00:00:00Z"} for number in range(1, 5)
    ]
    await take(ada, lines)
    await ada.make_task("done", status="done", checklist=[{"text": "one"}])
    before = await tasks_of(ada)
    exported = (await ada.get(f"/tasks/export?format={kind}")).content
    rich, one, two, three = (before[index] for index in (0, 2, 3, 4))
    await ada.patch(f"/tasks/{rich['id']}", json={"title": "Changed", "due_date": None, "metadata": None, "checklist": []})
    await ada.patch(f"/tasks/{one['id']}", json={"completed": True})
    await ada.patch(f"/tasks/{two['id']}", json={"tags": ["x"]})
    for task in (two, three):
        await ada.delete(f"/tasks/{task['id']}")
    restore = test_csv_reader.take if kind == "csv" else take
    assert await restore(ada, exported, BY_ID) == {"lines": 6, "created": 2, "updated": 2, "unchanged": 2}
    after = await tasks_of(ada)
    assert without(after, "version", "updated_at") == without(before, "version", "updated_at")
    assert all(now["updated_at"] >= then["updated_at"] for now, then in zip(after, before, strict=True))  # it never goes back
    actions = [entry["action"] for entry in (await stored_task(two["id"]))["history"]]
    assert actions == ["create", "update", "delete", "restore", "update"]
    assert [entry["action"] for entry in (await stored_task(three["id"]))["history"]] == ["create", "delete", "restore"]
    assert (await ada.get("/trash")).json() == []
    assert await restore(ada, exported, BY_ID) == {"lines": 6, "unchanged": 6}


async def test_what_is_gone_comes_back_once(ada: Account) -> None:
    task = await ada.make_task(**RICH)
    await take(ada, [{"title": "another", "key": "k", "created_at": "2020-01-01T00:00:00Z"}])
    before = await tasks_of(ada)
    for each in before:
        await purge(ada, each)
    assert await take_alike(ada, before) == {"lines": 2, "created": 2}
    after = await tasks_of(ada)
    assert without(after, "id", "version") == without(before, "id", "version")
    assert str(id_within(ObjectId(ada.id), ObjectId(task["id"]))) in {each["id"] for each in after}
    assert await take_alike(ada, before) == {"lines": 2, "unchanged": 2}
    assert await take_alike(ada, after) == {"lines": 2, "unchanged": 2}
    assert await take_alike(ada, [*after, *before]) == {"lines": 4, "unchanged": 4}
    await ada.delete(f"/tasks/{after[0]['id']}")
    assert await take_alike(ada, before) == {"lines": 2, "created": 1, "unchanged": 1}
    assert await tasks_of(ada) == [{**after[0], "version": 3}, after[1]]


async def test_old_and_new_lines_of_purged_task_match(ada: Account) -> None:
    task = await ada.make_task("old")
    await purge(ada, task)
    new = {**task, "id": str(id_within(ObjectId(ada.id), ObjectId(task["id"]))), "title": "new"}
    assert await take_alike(ada, [task, new, task]) == {"lines": 3, "created": 1, "updated": 2}
    assert [each["title"] for each in await tasks_of(ada)] == ["old"]


async def test_a_foreign_id_is_one_that_never_was(ada: Account, bob: Account) -> None:
    live, trashed, unknown = await bob.make_task("live"), await bob.make_task("trashed"), {"id": str(ObjectId())}
    await bob.delete(f"/tasks/{trashed['id']}")
    theirs = [await stored_task(task["id"]) for task in (live, trashed)]
    found = []
    for task in (live, trashed, unknown):
        line = jsonl({"title": "mine", "id": task["id"]})
        for query in (f"{BY_ID}&dry_run=true", BY_ID, BY_ID):
            answer = await ada.post(f"/tasks/import{query}", content=line, headers=JSONL)
            found.append(answer.json())
        is_problem(await ada.get(f"/tasks/{task['id']}"), 404, "not_found", "Task not found")
        is_problem(await ada.post(f"/tasks/{task['id']}/restore"), 404, "not_found")
    assert found[:3] == found[3:6] == found[6:]
    assert [report["created"] for report in found[:3]] == [1, 1, 0]
    assert len({task["id"] for task in await tasks_of(ada)} - {live["id"], trashed["id"], unknown["id"]}) == 3
    assert [await stored_task(task["id"]) for task in (live, trashed)] == theirs


async def test_an_export_fills_a_new_account_once(ada: Account, bob: Account) -> None:
    await ada.make_task(**RICH)
    await ada.make_task("plain")
    exported = await tasks_of(ada)
    assert await take_alike(bob, exported) == {"lines": 2, "created": 2}
    assert await take_alike(bob, exported) == {"lines": 2, "unchanged": 2}
    assert without(await tasks_of(bob), "id", "owner") == without(exported, "id", "owner")
    assert await tasks_of(ada) == exported


async def test_id_matches_before_key_and_key_before_trash(ada: Account) -> None:
    await take(ada, [{"title": "one", "key": "a"}, {"title": "two", "key": "b"}])
    one, two = await tasks_of(ada)
    assert await take_alike(ada, [{"id": one["id"], "key": "a", "title": "by id"}]) == {"lines": 1, "updated": 1}
    assert [(task["title"], task["key"]) for task in await tasks_of(ada)] == [("by id", "a"), ("two", "b")]
    line = {"id": str(ObjectId()), "key": "b", "title": "by key"}
    assert await take_alike(ada, [line, {"id": None, "key": "b", "title": "by key"}]) == {
        "lines": 2,
        "updated": 1,
        "unchanged": 1,
    }
    await ada.delete(f"/tasks/{two['id']}")
    await take(ada, [{"title": "heir", "key": "b"}])
    assert await take_alike(ada, [{"id": two["id"], "key": "b", "title": "still by key"}]) == {"lines": 1, "updated": 1}
    assert await take_alike(ada, [{"id": two["id"], "title": "back"}]) == {"lines": 1, "created": 1}
    assert [(task["title"], task["key"]) for task in await tasks_of(ada)] == [
        ("back", None),
        ("by id", "a"),
        ("still by key", "b"),
    ]


async def test_line_with_id_sets_a_free_key(ada: Account) -> None:
    task = await ada.make_task("one")
    line = {"id": task["id"], "key": "e\u0301", "title": "one"}
    assert await take_alike(ada, [line]) == {"lines": 1, "updated": 1}
    assert await take_alike(ada, [line, {**line, "key": None}]) == {"lines": 2, "unchanged": 2}
    stored = await stored_task(task["id"])
    assert (stored["key"], stored["version"], stored["history"][-1]["before"]["key"]) == ("\u00e9", 2, None)
    (entry, _) = (await ada.get(f"/tasks/{task['id']}/history")).json()
    assert entry["changes"] == {"key": {"before": None, "after": "\u00e9"}}
    assert (await ada.get(f"/tasks/{task['id']}?version=1")).json()["key"] is None
    await ada.delete(f"/tasks/{task['id']}")
    assert await take_alike(ada, [{**line, "key": "new"}]) == {"lines": 1, "created": 1}
    assert (await stored_task(task["id"]))["key"] == "new"


async def test_line_with_id_takes_no_key_of_another(ada: Account, bob: Account) -> None:
    await take(bob, [{"title": "theirs", "key": "free"}])
    await take(ada, [{"title": "one", "key": "a"}, {"title": "two", "key": "e\u0301"}])
    before = await tasks_of(ada)
    lines = [{"id": before[0]["id"], "key": key, "title": "changed"} for key in ("\u00e9", "free")]
    error = {"line": 1, "field": "key", "message": "belongs to another task", "type": "key_taken"}
    assert await take_alike(ada, lines[:1]) == {"lines": 1, "failed": 1, "errors": [error]}
    assert await tasks_of(ada) == before
    assert await take_alike(ada, lines) == {"lines": 2, "updated": 1, "failed": 1, "errors": [error]}
    assert [(task["title"], task["key"]) for task in await tasks_of(ada)] == [("changed", "free"), ("two", "\u00e9")]


async def test_lines_hand_keys_on_in_order(ada: Account) -> None:
    await take(ada, [{"title": "one", "key": "a"}, {"title": "two", "key": "b"}, {"title": "three", "key": "c"}])
    one, three, two = [task["id"] for task in await tasks_of(ada)]
    handed = ((one, "z", "one"), (two, "a", "two"), (three, "b", "three"))
    lines = [{"id": task_id, "key": key, "title": title} for task_id, key, title in handed] + [{"key": "c", "title": "new"}]
    assert await take_alike(ada, lines) == {"lines": 4, "created": 1, "updated": 3}
    assert {task["title"]: task["key"] for task in await tasks_of(ada)} == {"one": "z", "two": "a", "three": "b", "new": "c"}
    more = [{"id": one, "key": "y", "title": "one"}, {"id": two, "key": "z", "title": "two"}, {"key": "a", "title": "newer"}]
    report = await take_alike(ada, [*more, *lines])
    assert [(error["line"], error["type"]) for error in report.pop("errors")] == [(4, "key_taken"), (5, "key_taken")]
    assert report == {"lines": 7, "created": 1, "updated": 2, "unchanged": 2, "failed": 2}


async def test_of_concurrent_imports_one_gets_the_key(ada: Account) -> None:
    ids = [(await ada.make_task(f"task {number}"))["id"] for number in range(4)]
    reports = await asyncio.gather(*(take(ada, [{"id": task, "key": "k", "title": "changed"}], BY_ID) for task in ids))
    assert sorted((report.get("updated", 0), report.get("failed", 0)) for report in reports) == [(0, 1)] * 3 + [(1, 0)]
    assert sorted(str(task["key"]) for task in await tasks_of(ada)) == ["None"] * 3 + ["k"]


async def test_lines_naming_one_task_differently_apply_in_order(ada: Account) -> None:
    await take(ada, [{"title": "task", "key": "k"}])
    (task,) = await tasks_of(ada)
    lines = [{"id": task["id"], "title": "first"}, {"key": "k", "title": "second"}, {"id": task["id"], "title": "third"}]
    assert await take_alike(ada, lines) == {"lines": 3, "updated": 3}
    (task,) = await tasks_of(ada)
    assert (task["title"], task["version"]) == ("third", 4)


async def test_expired_task_in_the_trash_is_no_obstacle(ada: Account) -> None:
    """MongoDB removes it within a minute; until then its id is not free."""
    task = await ada.make_task("expired")
    await purge(ada, task)
    await take(ada, [task], BY_ID)
    (copy,) = await tasks_of(ada)
    await ada.delete(f"/tasks/{copy['id']}")
    expired = {"$set": {"trash.expires_at": utc_now() - timedelta(seconds=1)}}
    await collection(TaskDocument).update_one({"_id": ObjectId(copy["id"])}, expired)
    assert await take(ada, [task], BY_ID) == {"lines": 1, "created": 1}
    assert [each["title"] for each in await tasks_of(ada)] == ["expired"]


@pytest.mark.parametrize("task_id", ["nonsense", 7, "", "65f1a2b3c4d5e6f708192a3", {"$gt": ""}])
async def test_invalid_id_is_an_error_of_its_line(ada: Account, task_id: Any) -> None:
    report = await take(ada, [{"id": task_id, "title": "A task"}, {"title": "Without one"}], BY_ID)
    assert (report["failed"], report["created"]) == (1, 1)
    assert [(error["line"], error["field"]) for error in report["errors"]] == [(1, "id")]
    assert (await take(ada, [{"id": task_id, "title": "A task"}]))["created"] == 1
    assert wrong_fields(await ada.post("/tasks/import?match=title", content=b"", headers=JSONL)) == {"match": "literal_error"}


async def test_concurrent_imports_of_equal_ids_create_no_duplicates(ada: Account) -> None:
    lines = [
        {"title": f"task {number}", "id": str(ObjectId()), "key": f"k{number}" if number % 3 else None} for number in range(600)
    ]
    shuffled = [random.Random(seed).sample(lines, len(lines)) for seed in range(4)]
    reports = await asyncio.gather(*(take(ada, text, BY_ID) for text in shuffled))
    assert sum(report.get("created", 0) for report in reports) == 600
    assert sum(report.get("unchanged", 0) for report in reports) == 1800
    made = await tasks_of(ada)
    assert {task["title"] for task in made} == {line["title"] for line in lines}
    assert await count() == 600
    await asyncio.gather(*(ada.delete(f"/tasks/{task['id']}") for task in made[:100]))
    changed = [{**line, "priority": 5} for line in lines]
    reports = await asyncio.gather(*(take(ada, changed, BY_ID) for _ in range(4)))
    totals = [sum(report.get(name, 0) for report in reports) for name in ("created", "updated", "unchanged", "failed")]
    assert totals == [100, 500, 1800, 0]
    assert {task["version"] for task in await tasks_of(ada)} == {2, 4}


async def test_repeat_under_an_idempotency_key_replays_the_answer(ada: Account) -> None:
    task = await ada.make_task()
    await purge(ada, task)
    headers = {**JSONL, "Idempotency-Key": "once"}
    answers = [await ada.post(f"/tasks/import{BY_ID}", content=jsonl(task), headers=headers) for _ in range(2)]
    assert [answer.json()["created"] for answer in answers] == [1, 1]
    assert len(await tasks_of(ada)) == 1


async def test_of_two_trashed_duplicates_one_keeps_its_key(ada: Account) -> None:
    ids = []
    for title in ("first", "second"):
        await take(ada, [{"title": title, "key": "k"}])
        ids.append((await tasks_of(ada))[0]["id"])
        await ada.delete(f"/tasks/{ids[-1]}")
    lines = [{"id": task_id, "title": title} for task_id, title in zip(ids, ("first", "second"), strict=True)]
    assert await take_alike(ada, lines) == {"lines": 2, "created": 2}
    found = await tasks_of(ada)
    assert [task["id"] for task in found] == ids
    assert sorted(str(task["key"]) for task in found) == ["None", "k"]
    assert await take_alike(ada, found) == {"lines": 2, "unchanged": 2}


@pytest.mark.parametrize("named", [{}, {"id": str(ObjectId())}], ids=["key", "id and key"])
async def test_line_with_key_changes_task_restored_before(ada: Account, named: dict[str, str]) -> None:
    await take(ada, [{"title": "old", "key": "k"}])
    (old,) = await tasks_of(ada)
    await ada.delete(f"/tasks/{old['id']}")
    lines = [{"id": old["id"], "title": "first"}, {**named, "key": "k", "title": "second"}]
    assert await take_alike(ada, lines) == {"lines": 2, "created": 1, "updated": 1}
    (task,) = await tasks_of(ada)
    assert (task["id"], task["title"], task["key"]) == (old["id"], "second", "k")
    actions = [entry["action"] for entry in (await stored_task(task["id"]))["history"]]
    assert actions == ["create", "delete", "restore", "update", "update"]


async def test_task_created_beside_a_conflict_counts_as_created(ada: Account) -> None:
    await take(ada, [{"title": "old", "key": "k"}])
    (old,) = await tasks_of(ada)
    await ada.delete(f"/tasks/{old['id']}")
    lines = [{"title": "new", "key": "k", "id": str(ObjectId())}, {"title": "old", "id": old["id"]}]
    assert await take_alike(ada, lines) == {"lines": 2, "created": 2}
    assert sorted((task["title"], task["key"]) for task in await tasks_of(ada)) == [("new", "k"), ("old", None)]


@pytest.mark.parametrize("name", ["due_date", "start_date"])
@pytest.mark.parametrize("stored", ["2027-01-01", "2027-01-01T00:00:00", 1_798_761_600])
async def test_date_stored_as_text_or_number_is_read(ada: Account, name: str, stored: Any) -> None:
    task = await ada.make_task("one")
    await collection(TaskDocument).update_one({"_id": ObjectId(task["id"])}, {"$set": {name: stored}})
    shown = (await ada.get(f"/tasks/{task['id']}")).json()
    assert await take_alike(ada, [shown]) == {"lines": 1, "unchanged": 1}
    assert await take_alike(ada, [{**shown, name: "2027-01-02"}]) == {"lines": 1, "updated": 1}
    assert (await ada.get(f"/tasks/{task['id']}")).json()[name] == "2027-01-02"
