"""What each write leaves in a task for scripts: when the task changed, and when its status did."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId

from taskapi.core.clock import utc_now
from taskapi.tasks.schemas import Status
from taskapi.tasks.storage import pipelines
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.marks import MAX_STATUS_CHANGES, begin_status_changes
from tests.accounts.users.renamer import follow_due
from tests.client import Account, stored_task
from tests.stored import collection
from tests.tasks.import_export.test_importer import take

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("copies_wait")]

AHEAD = timedelta(hours=1)
Change = Callable[[Account, str], Awaitable[Any]]


async def bulk(account: Account, *operations: Any, atomic: bool = False) -> None:
    answer = await account.post(f"/tasks/bulk?atomic={atomic}".lower(), json={"operations": list(operations)})
    assert {result["status"] for result in answer.json()} <= {200, 201}


async def rename(account: Account) -> None:
    assert (await account.patch("/users/me", json={"username": "countess"})).status_code == 200
    await follow_due()


def updated(task_id: str) -> dict[str, Any]:
    return {"op": "update", "id": task_id, "changes": {"priority": 5}}


CHANGES: dict[str, Change] = {
    "patch": lambda ada, task: ada.patch(f"/tasks/{task}", json={"priority": 5}),
    "put": lambda ada, task: ada.put(f"/tasks/{task}", json={"priority": 5}),
    "metadata": lambda ada, task: ada.patch(f"/tasks/{task}", json={"metadata": {"a": 1}}),
    "checklist": lambda ada, task: ada.post(f"/tasks/{task}/checklist", json={"text": "Step"}),
    "revert": lambda ada, task: ada.post(f"/tasks/{task}/revert", json={"version": 1}),
    "filter": lambda ada, task: ada.patch("/tasks?priority=4", json={"priority": 5}),
    "merge by filter": lambda ada, task: ada.patch("/tasks?priority=4", json={"metadata": {"a": 1}}),
    "bulk": lambda ada, task: bulk(ada, updated(task)),
    "atomic bulk": lambda ada, task: bulk(ada, updated(task), atomic=True),
    "import": lambda ada, task: take(ada, [{"title": "New", "id": task, "updated_at": "2001-01-01T00:00:00Z"}], "?match=id"),
    "upsert": lambda ada, task: take(ada, [{"title": "New", "key": "k"}]),
    "delete": lambda ada, task: ada.delete(f"/tasks/{task}"),
    "delete by filter": lambda ada, task: ada.delete("/tasks?priority=4"),
    "rename": lambda ada, task: rename(ada),
}


async def begin(account: Account) -> str:
    """A task in its second version, with a key."""
    await take(account, [{"title": "Old", "key": "k"}])
    (task,) = (await account.get("/tasks")).json()
    await account.patch(f"/tasks/{task['id']}", json={"priority": 4})
    return str(task["id"])


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_every_write_moves_the_mark_forward(ada: Account, change: Change) -> None:
    task_id = await begin(ada)
    before = (await stored_task(task_id))["changed_at"]
    assert before >= (await stored_task(task_id))["updated_at"] - timedelta(seconds=1)
    await change(ada, task_id)
    assert (await stored_task(task_id))["changed_at"] > before


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_mark_passes_one_of_a_clock_ahead(ada: Account, change: Change) -> None:
    task_id, ahead = await begin(ada), (utc_now() + AHEAD).replace(tzinfo=None)
    await collection(TaskDocument).update_one({"_id": ObjectId(task_id)}, {"$set": {"changed_at": ahead}})
    await change(ada, task_id)
    assert (await stored_task(task_id))["changed_at"] == ahead + timedelta(milliseconds=1)


@pytest.mark.parametrize("damaged", ["yesterday", 1, None, [], datetime(9999, 12, 31, 23, 59, 59, 999000)], ids=str)
async def test_damaged_mark_is_replaced(ada: Account, damaged: Any) -> None:
    task_id = (await ada.make_task())["id"]
    await collection(TaskDocument).update_one({"_id": ObjectId(task_id)}, {"$set": {"changed_at": damaged}})
    assert (await ada.patch(f"/tasks/{task_id}", json={"priority": 5})).status_code == 200
    marked = (await stored_task(task_id))["changed_at"]
    assert abs(marked - utc_now().replace(tzinfo=None)) < AHEAD


async def test_mark_is_not_before_the_history(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of this worker is ahead of MongoDB's."""
    task_id = (await ada.make_task())["id"]
    monkeypatch.setattr(pipelines, "utc_now", lambda: utc_now() + AHEAD)
    await ada.patch(f"/tasks/{task_id}", json={"priority": 5})
    await ada.delete(f"/tasks/{task_id}")
    task = await stored_task(task_id)
    assert task["changed_at"] >= task["history"][-1]["at"] > task["history"][0]["at"] + AHEAD / 2


async def test_restored_tasks_are_marked(ada: Account) -> None:
    first, second = [str((await ada.make_task(f"Task {number}"))["id"]) for number in range(2)]
    await ada.delete(f"/tasks/{first}")
    await ada.delete(f"/tasks/{second}")
    marks = [(await stored_task(task_id))["changed_at"] for task_id in (first, second)]
    await ada.post(f"/tasks/{first}/restore")
    await take(ada, [{"title": "Task 1", "id": second}], "?match=id")
    for task_id, mark in zip((first, second), marks, strict=True):
        task = await stored_task(task_id)
        assert "trash" not in task
        assert task["changed_at"] > mark


async def test_new_tasks_are_marked_however_created(ada: Account) -> None:
    before = utc_now().replace(tzinfo=None)
    await ada.make_task("One")
    new = {"op": "create", "task": {"title": "In bulk"}}
    await bulk(ada, new)
    await bulk(ada, new, new, atomic=True)
    await take(ada, [{"title": "Imported", "created_at": "2001-01-01T00:00:00Z", "updated_at": "2001-01-01T00:00:00Z"}])
    tasks = await collection(TaskDocument).find().to_list(None)
    assert len(tasks) == 5
    assert all(before <= task["changed_at"] <= utc_now().replace(tzinfo=None) for task in tasks)


async def test_write_that_changes_nothing_leaves_no_mark(ada: Account) -> None:
    await take(ada, [{"title": "Old", "key": "k"}])
    (task,) = (await ada.get("/tasks")).json()
    before = await stored_task(task["id"])
    await take(ada, [{"title": "Old", "key": "k"}])
    await ada.patch(f"/tasks/{task['id']}", json={})
    await ada.post(f"/tasks/{task['id']}/revert", json={"version": 1})
    await follow_due()
    assert await stored_task(task["id"]) == before


async def statuses(task_id: str) -> list[str]:
    """The statuses that a task went through; each began after the one before."""
    task = await stored_task(task_id)
    changes = task["status_changes"]
    times = [change["at"] for change in changes]
    assert times == sorted(times)
    assert times[0] == task["created_at"]
    assert changes[-1]["status"] == task["status"]
    return [change["status"] for change in changes]


async def test_status_changes_are_those_that_happened(ada: Account) -> None:
    task_id = (await ada.make_task())["id"]
    path = f"/tasks/{task_id}"
    await ada.patch(path, json={"status": "todo"})
    await ada.patch(path, json={"status": "in_progress", "priority": 5})
    await ada.patch(path, json={"completed": True})
    await ada.patch(path, json={"title": "Renamed", "completed": True})
    await ada.put(path, json={"status": "todo"})
    await bulk(ada, {"op": "update", "id": task_id, "changes": {"status": "done"}})
    await ada.patch("/tasks?status=done", json={"status": "in_progress"})
    await ada.post(f"{path}/revert", json={"version": 1})
    await ada.delete(path)
    await ada.post(f"{path}/restore")
    expected = ["todo", "in_progress", "done", "todo", "done", "in_progress", "todo"]
    assert await statuses(task_id) == expected
    await ada.delete(path)
    await take(ada, [{"title": "Back", "id": task_id, "status": "done"}], "?match=id")
    assert await statuses(task_id) == [*expected, "done"]
    task = await stored_task(task_id)
    assert task["status_changes"][-1]["at"] == task["completed_at"]


async def test_task_created_as_done_has_one_status(ada: Account) -> None:
    assert await statuses((await ada.make_task(status="done"))["id"]) == ["done"]


async def test_imported_task_counts_as_open_until_completed(ada: Account) -> None:
    line = {"title": "Imported", "status": "done", "created_at": "2026-01-01T00:00:00Z", "completed_at": "2026-01-05T00:00:00Z"}
    await take(ada, [{**line, "key": "k"}])
    (task,) = (await ada.get("/tasks")).json()
    assert await statuses(task["id"]) == ["todo", "done"]
    assert (await stored_task(task["id"]))["status_changes"][1]["at"] == datetime(2026, 1, 5)
    await take(ada, [{**line, "key": "k", "status": "todo", "completed_at": None}])
    assert await statuses(task["id"]) == ["todo", "done", "todo"]


async def test_import_says_when_task_was_completed(ada: Account) -> None:
    await take(ada, [{"title": "Imported", "key": "k", "created_at": "2026-01-01T00:00:00Z"}])
    completed = {"title": "Imported", "key": "k", "status": "done", "completed_at": "2026-01-05T00:00:00Z"}
    assert await take(ada, [completed]) == {"lines": 1, "updated": 1}
    (task,) = (await ada.get("/tasks")).json()
    assert await statuses(task["id"]) == ["todo", "done"]
    assert (await stored_task(task["id"]))["status_changes"][1]["at"] == datetime(2026, 1, 5)


async def test_import_sets_creation_and_completion_together(ada: Account) -> None:
    await take(ada, [{"title": "Imported", "key": "k"}])
    times = {"created_at": "2026-01-01T00:00:00Z", "completed_at": "2026-01-05T00:00:00Z"}
    assert await take(ada, [{"title": "Imported", "key": "k", "status": "done", **times}]) == {"lines": 1, "updated": 1}
    (task,) = (await ada.get("/tasks")).json()
    assert await statuses(task["id"]) == ["todo", "done"]
    assert (await stored_task(task["id"]))["status_changes"][1]["at"] == datetime(2026, 1, 5)
    flow = (await ada.get("/stats/flow?from=2026-01-04&to=2026-01-05&by=day")).json()
    assert [(day["todo"], day["done"]) for day in flow] == [(1, 0), (0, 1)]


async def changes_of(task_id: str) -> list[tuple[str, str]]:
    return [(change["status"], change["at"].isoformat()[:10]) for change in (await stored_task(task_id))["status_changes"]]


@pytest.mark.parametrize("before", ["2026-01-01", "2026-01-03", "2026-01-07"])
async def test_import_moves_the_completion(ada: Account, before: str) -> None:
    line = {"title": "Imported", "key": "k", "status": "done", "created_at": "2026-01-01T00:00:00Z"}
    await take(ada, [{**line, "completed_at": f"{before}T00:00:00Z"}])
    (task,) = (await ada.get("/tasks")).json()
    assert await take(ada, [{**line, "completed_at": "2026-01-05T00:00:00Z"}]) == {"lines": 1, "updated": 1}
    assert await changes_of(task["id"]) == [("todo", "2026-01-01"), ("done", "2026-01-05")]
    flow = (await ada.get("/stats/flow?from=2026-01-04&to=2026-01-05&by=day")).json()
    assert [(day["todo"], day["done"]) for day in flow] == [(1, 0), (0, 1)]


async def test_import_moves_creation_and_completion(ada: Account) -> None:
    task_id = (await ada.make_task(status="done"))["id"]
    times = {"created_at": "2026-01-01T00:00:00Z", "completed_at": "2026-01-05T00:00:00Z"}
    await take(ada, [{"title": "Imported", "id": task_id, "status": "done", **times}], "?match=id")
    assert await changes_of(task_id) == [("todo", "2026-01-01"), ("done", "2026-01-05")]


async def test_completion_is_not_moved_before_other_changes(ada: Account) -> None:
    await take(ada, [{"title": "Imported", "key": "k", "created_at": "2026-01-01T00:00:00Z"}])
    (task,) = (await ada.get("/tasks")).json()
    await ada.patch(f"/tasks/{task['id']}", json={"status": "in_progress"})
    await ada.patch(f"/tasks/{task['id']}", json={"status": "done"})
    before = (await stored_task(task["id"]))["status_changes"]
    done = {"title": "Renamed", "key": "k", "status": "done"}
    await take(ada, [done])
    assert (await stored_task(task["id"]))["status_changes"] == before
    await take(ada, [{**done, "completed_at": "2026-01-05T00:00:00Z"}])
    after = (await stored_task(task["id"]))["status_changes"]
    assert after == [*before[:2], {"status": "done", "at": before[1]["at"]}]


def test_status_changes_begin_with_the_creation() -> None:
    day, later = datetime(2026, 1, 1), datetime(2026, 1, 2)
    assert begin_status_changes(Status.in_progress, day, None) == [{"status": "in_progress", "at": day}]
    assert begin_status_changes(Status.done, day, day) == [{"status": "done", "at": day}]
    assert begin_status_changes(Status.done, day, later) == [{"status": "todo", "at": day}, {"status": "done", "at": later}]


async def test_only_the_newest_status_changes_stay(ada: Account) -> None:
    task_id = (await ada.make_task())["id"]
    many = [{"status": "todo", "at": datetime(2026, 1, 1) + timedelta(days=day)} for day in range(MAX_STATUS_CHANGES)]
    await collection(TaskDocument).update_one({}, {"$set": {"status_changes": many}})
    await ada.patch(f"/tasks/{task_id}", json={"status": "in_progress"})
    kept = (await stored_task(task_id))["status_changes"]
    assert kept[:-1] == many[1:]
    assert kept[-1]["status"] == "in_progress"


@pytest.mark.parametrize("damaged", ["done", 1, None, {}, {"at": "x"}], ids=str)
async def test_missing_status_changes_begin_anew(ada: Account, damaged: Any) -> None:
    task_id = (await ada.make_task())["id"]
    await collection(TaskDocument).update_one({}, {"$set": {"status_changes": damaged}})
    await ada.patch(f"/tasks/{task_id}", json={"status": "done"})
    assert await statuses(task_id) == ["todo", "done"]


@pytest.mark.parametrize("damaged", ["done", 1, None, {"status": "done"}, [], [1]], ids=str)
@pytest.mark.usefixtures("moderate")
async def test_damaged_status_changes_stay_when_completion_moves(ada: Account, damaged: Any) -> None:
    task_id = (await ada.make_task(status="done"))["id"]
    await collection(TaskDocument).update_one({}, {"$set": {"status_changes": damaged}})
    line = {"title": "Imported", "id": task_id, "status": "done", "completed_at": datetime.now(UTC).isoformat()}
    assert await take(ada, [line], "?match=id") == {"lines": 1, "updated": 1}
    assert (await stored_task(task_id))["status_changes"] == damaged


@pytest.mark.parametrize("path", ["", "?limit=1", "/ID", "/ID?fields=title", "/ID?version=1", "/ID/history", "/export"])
async def test_no_route_shows_the_marks(ada: Account, path: str) -> None:
    task_id = (await ada.make_task())["id"]
    await ada.patch(f"/tasks/{task_id}", json={"status": "done"})
    text = (await ada.get(f"/tasks{path.replace('ID', task_id)}")).text
    assert "changed_at" not in text
    assert "status_changes" not in text
