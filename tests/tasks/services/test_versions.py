"""The history of a task: every write records its own changes."""

import json
from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId

from taskapi.core.clock import in_utc, rfc3339
from taskapi.db.shapes import validate
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.history import MAX_BYTES, MAX_ENTRIES, MAX_STORED
from tests.client import Account, is_problem, stored_task, wrong_fields
from tests.stored import collection
from tests.tasks.import_export.test_importer import take


@pytest.mark.real
async def test_each_change_says_who_when_why_and_what(ada: Account) -> None:
    task = await ada.make_task("First", checklist=[{"text": "one"}])
    path = f"/tasks/{task['id']}"
    await ada.patch(path, json={"title": "Second", "priority": 1}, headers={"X-Request-ID": "second"})
    await ada.patch(f"{path}/checklist/{task['checklist'][0]['id']}", json={"done": True})
    await ada.patch(path, json={"completed": True, "due_date": "2027-01-31", "metadata": {"a": {"b": 1}}})
    await ada.delete(path)
    await ada.post(f"{path}/restore")
    current = (await ada.get(path)).json()

    entries = (await ada.get(f"{path}/history")).json()
    assert [(entry["version"], entry["action"]) for entry in entries] == [
        (6, "restore"),
        (5, "delete"),
        (4, "update"),
        (3, "update"),
        (2, "update"),
        (1, "create"),
    ]
    _, _, fourth, third, second, first = entries
    assert first["changes"] == {}
    assert (second["request_id"], second["by"]) == ("second", {"id": ada.id, "username": "ada"})
    assert second["changes"] == {"title": {"before": "First", "after": "Second"}}  # priority was 1 already
    assert third["changes"]["progress"] == {"before": 0.0, "after": 1.0}
    assert third["changes"]["checklist"]["after"] == current["checklist"]
    assert fourth["changes"] == {
        "status": {"before": "todo", "after": "done"},
        "completed": {"before": False, "after": True},
        "completed_at": {"before": None, "after": current["completed_at"]},
        "due_date": {"before": None, "after": "2027-01-31"},
        "metadata": {"before": {}, "after": {"a": {"b": 1}}},
    }
    assert fourth["at"] == current["updated_at"]
    assert "history" not in current


async def test_the_history_lands_with_the_change(ada: Account) -> None:
    task = await ada.make_task()
    await ada.patch(f"/tasks/{task['id']}", json={"priority": 2})
    kept = await stored_task(task["id"])
    assert "before" not in kept
    assert [entry["version"] for entry in kept["history"]] == [1, 2]
    assert kept["history"][1]["before"] == {"priority": 1, "updated_at": kept["created_at"]}
    assert validate(TaskDocument, kept).history[1].by.username == "ada"


async def test_a_task_as_it_was(ada: Account) -> None:
    path = f"/tasks/{(await ada.make_task('Version 1', tags=['a']))['id']}"
    states = [(await ada.get(path)).json()]
    edits: list[dict[str, Any]] = [{"title": "Version 2"}, {"tags": []}, {"status": "done"}]
    edits += [{"metadata": {"a": 1}}, {"metadata": {"a": None}}]
    states += [(await ada.patch(path, json=edit)).json() for edit in edits]
    for version, state in enumerate(states, 1):
        assert (await ada.get(f"{path}?version={version}")).json() == state
    made = in_utc((await stored_task(states[0]["id"]))["created_at"])
    for entry in range(len(states)):  # one a minute, so that times tell them apart
        at = {f"history.{entry}.at": made + timedelta(minutes=entry)}
        await collection(TaskDocument).update_one({}, {"$set": at})
    for entry, state in enumerate(states):
        moment = rfc3339(made + timedelta(minutes=entry, seconds=30))
        assert (await ada.get(path, params={"as_of": moment})).json() == state
    is_problem(await ada.get(path, params={"as_of": rfc3339(made - timedelta(seconds=1))}), 404, "not_found")
    is_problem(await ada.get(f"{path}?version=7"), 404, "not_found", "The task has no such version")


async def test_as_of_within_the_trash_is_not_found(ada: Account) -> None:
    task = await ada.make_task()
    path = f"/tasks/{task['id']}"
    await ada.delete(path)
    await ada.post(f"{path}/restore")
    made = in_utc((await stored_task(task["id"]))["created_at"])
    times = {f"history.{n}.at": made + timedelta(minutes=n) for n in range(3)}
    await collection(TaskDocument).update_one({}, {"$set": times})
    found = [(await ada.get(path, params={"as_of": rfc3339(made + timedelta(seconds=s))})).status_code for s in (30, 90, 150)]
    assert found == [200, 404, 200]


async def test_as_of_follows_versions_begun_out_of_order(ada: Account) -> None:
    """As when a change of many tasks began before another, and came to this task after it."""
    task = await ada.make_task()
    path = f"/tasks/{task['id']}"
    for title in ("second", "third", "fourth"):
        await ada.patch(path, json={"title": title})
    made = in_utc((await stored_task(task["id"]))["created_at"])
    seconds = {"history.1.at": 60, "history.2.at": 30, "history.3.at": 90}
    moments = {place: made + timedelta(seconds=later) for place, later in seconds.items()}
    await collection(TaskDocument).update_one({"_id": ObjectId(task["id"])}, {"$set": moments})
    found = [(await ada.get(path, params={"as_of": rfc3339(made + timedelta(seconds=s))})).json() for s in (15, 45, 75, 105)]
    assert [each["version"] for each in found] == [1, 1, 3, 4]


async def test_times_claimed_by_an_import_are_no_versions(ada: Account) -> None:
    line = b'{"title":"Imported","created_at":"2020-01-01T00:00:00Z","updated_at":"2020-02-01T00:00:00Z"}'
    await ada.post("/tasks/import", content=line, headers={"Content-Type": "application/jsonl"})
    (task,) = (await ada.get("/tasks")).json()
    is_problem(await ada.get(f"/tasks/{task['id']}?as_of=2021-01-01T00:00:00Z"), 410, "version_not_kept")
    is_problem(await ada.get(f"/tasks/{task['id']}?as_of=2019-01-01T00:00:00Z"), 404, "not_found")


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("version=0", ["version"]),
        ("version=one", ["version"]),
        ("version=99999999999999999999", ["version"]),
        ("as_of=yesterday", ["as_of"]),
        ("as_of=1700000000", ["as_of"]),
        ("as_of=2027-01-31", ["as_of"]),
        ("as_of=2027-01-31T09:15:00", ["as_of"]),
        ("as_of=2027-02-30T09:15:00Z", ["as_of"]),
        ("as_of=0001-01-01T00:00:00%2B23:59", ["as_of"]),
        ("version=1&as_of=2027-01-31T09:15:00Z", [""]),
        ("colour=red", ["colour"]),
    ],
)
async def test_states_that_are_not_well_named(ada: Account, query: str, fields: list[str]) -> None:
    task = await ada.make_task()
    assert list(wrong_fields(await ada.get(f"/tasks/{task['id']}?{query}"))) == fields


async def test_reverting_is_a_new_version(ada: Account) -> None:
    body: dict[str, Any] = {"description": "x", "tags": ["a"], "checklist": [{"text": "one", "done": True}], "metadata": {"a": 1}}
    task = await ada.make_task("Good", status="done", due_date="2027-01-31", **body)
    path = f"/tasks/{task['id']}"
    spoilt: dict[str, Any] = {
        "title": "Spoilt",
        "status": "todo",
        "due_date": None,
        "description": "",
        "tags": [],
        "checklist": [],
    }
    await ada.patch(path, json={**spoilt, "metadata": None})
    answer = await ada.post(f"{path}/revert", json={"version": 1}, headers={"If-Match": '"2"'})
    assert (answer.status_code, answer.headers["etag"]) == (200, '"3"')
    assert answer.json() == {**task, "version": 3, "updated_at": answer.json()["updated_at"]}
    newest = (await ada.get(f"{path}/history")).json()[0]
    assert (newest["action"], newest["changes"]["title"]) == ("revert", {"before": "Spoilt", "after": "Good"})
    assert (await ada.get(f"{path}?version=2")).json()["title"] == "Spoilt"
    for version in (3, 1):  # it is so already
        same = await ada.post(f"{path}/revert", json={"version": version})
        assert (same.status_code, same.headers["etag"]) == (200, '"3"')


@pytest.mark.parametrize(("first", "second"), [(1, True), (0, False), (1, 1.0), ([2], [2.0])])
async def test_equal_values_of_different_types_are_distinguished(ada: Account, first: Any, second: Any) -> None:
    task = await ada.make_task(metadata={"a": first})
    path = f"/tasks/{task['id']}"
    await ada.patch(path, json={"metadata": {"a": second}})
    past = (await ada.get(f"{path}?version=1")).json()["metadata"]["a"]
    assert json.dumps(past) == json.dumps(first)
    changes = (await ada.get(f"{path}/history")).json()[0]["changes"]["metadata"]
    assert json.dumps(changes) == json.dumps({"before": {"a": first}, "after": {"a": second}})
    reverted = (await ada.post(f"{path}/revert", json={"version": 1})).json()
    assert (reverted["version"], json.dumps(reverted["metadata"])) == (3, json.dumps({"a": first}))


async def test_reverts_that_cannot_be(ada: Account, bob: Account) -> None:
    task = await ada.make_task()
    path = f"/tasks/{task['id']}/revert"
    is_problem(await bob.post(path, json={"version": 1}), 404, "not_found")
    is_problem(await bob.get(f"/tasks/{task['id']}/history"), 404, "not_found")
    is_problem(await ada.post(path, json={"version": 2}), 404, "not_found")
    is_problem(await ada.post(path, json={"version": 1}, headers={"If-Match": '"9"'}), 412, "precondition_failed")
    for body in ({}, {"version": 0}, {"version": "1"}, {"version": True}, {"version": 1, "by": "me"}):
        assert wrong_fields(await ada.post(path, json=body))
    assert (await stored_task(task["id"]))["version"] == 1


@pytest.mark.real
async def test_revert_before_imported_creation_is_refused(ada: Account) -> None:
    line = {"title": "task", "key": "k"}
    await take(ada, [{**line, "status": "done", "created_at": "2021-01-01T00:00:00Z", "completed_at": "2021-02-01T00:00:00Z"}])
    (task,) = (await ada.get("/tasks")).json()
    await ada.patch(f"/tasks/{task['id']}", json={"status": "todo"})
    await take(ada, [{**line, "created_at": "2022-01-01T00:00:00Z"}])
    before = await stored_task(task["id"])
    assert wrong_fields(await ada.post(f"/tasks/{task['id']}/revert", json={"version": 1})) == {"version": "contradiction"}
    assert await stored_task(task["id"]) == before
    await take(ada, [{**line, "created_at": "2021-02-01T00:00:00Z"}])
    reverted = (await ada.post(f"/tasks/{task['id']}/revert", json={"version": 1})).json()
    assert (reverted["status"], reverted["completed_at"]) == ("done", "2021-02-01T00:00:00.000Z")


@pytest.mark.real
async def test_the_history_is_capped_by_number(ada: Account) -> None:
    task = await ada.make_task()
    path = f"/tasks/{task['id']}"
    for n in range(MAX_ENTRIES + 3):
        await ada.patch(path, json={"title": f"Title {n}"})
    assert len((await stored_task(task["id"]))["history"]) == MAX_ENTRIES + 4
    entries = (await ada.get(f"{path}/history")).json()
    assert [entries[0]["version"], entries[-1]["version"], len(entries)] == [104, 5, 100]
    assert entries[-1]["changes"] == {"title": {"before": "Title 2", "after": "Title 3"}}
    assert (await ada.get(f"{path}?version=4")).json()["title"] == "Title 2"
    is_problem(await ada.get(f"{path}?version=3"), 410, "version_not_kept")
    is_problem(await ada.post(f"{path}/revert", json={"version": 3}), 410, "version_not_kept")
    is_problem(await ada.get(path, params={"as_of": task["created_at"]}), 410, "version_not_kept")


@pytest.mark.real
async def test_old_entries_are_dropped_together(ada: Account) -> None:
    """A task stores a few more entries than callers see."""
    task = await ada.make_task()
    path = f"/tasks/{task['id']}"
    stored = []
    for n in range(MAX_STORED + 2):
        await ada.patch(path, json={"title": f"Title {n}"})
        stored.append(len((await stored_task(task["id"]))["history"]))
        if stored[-1] >= MAX_ENTRIES:
            versions = [entry["version"] for entry in (await ada.get(f"{path}/history")).json()]
            assert versions == list(range(n + 2, n + 2 - MAX_ENTRIES, -1))
    assert stored == [*range(2, MAX_STORED + 1), MAX_ENTRIES, MAX_ENTRIES + 1, MAX_ENTRIES + 2]


@pytest.mark.real
async def test_damage_beyond_what_callers_see_is_not_reported(ada: Account, caplog: pytest.LogCaptureFixture) -> None:
    task = await ada.make_task()
    path = f"/tasks/{task['id']}"
    for n in range(MAX_ENTRIES + 3):
        await ada.patch(path, json={"title": f"Title {n}"})
    damage = {"$set": {"history.3": 7}, "$unset": {"history.2.by": 1}}
    await collection(TaskDocument).update_one({"_id": ObjectId(task["id"])}, damage, bypass_document_validation=True)
    assert len((await ada.get(f"{path}/history")).json()) == MAX_ENTRIES
    is_problem(await ada.get(f"{path}?version=3"), 410, "version_not_kept")
    assert not caplog.records


@pytest.mark.real
async def test_the_history_is_capped_by_size(ada: Account) -> None:
    task = await ada.make_task(metadata={"text": "x" * 16_000})
    path = f"/tasks/{task['id']}"
    for n in range(12):
        await ada.patch(path, json={"metadata": {"text": f"{n:05}" * 3200}})
        kept = (await stored_task(task["id"]))["history"]
        assert sum(len(str(entry["before"])) for entry in kept) <= MAX_BYTES
    assert 1 < len(kept) < 12
    assert (await ada.get(f"{path}?version={kept[0]['version']}")).status_code == 200
