"""The views of tasks say what the API says, without the trash and what was purged."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId

from taskapi.core.clock import midnight, utc_now
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.marks import MAX_STATUS_CHANGES
from tests.accounts.users.renamer import follow_due
from tests.client import Account, stored_task
from tests.db.migrations.legacy import TASKS
from tests.stored import collection
from tests.tasks.import_export.test_importer import take
from tests.views.reading import as_day, as_json, rows, rows_of

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("copies_wait")]

DAYS = {"due_date", "start_date"}
SAME = ("title", "description", "status", "completed", "completed_at", "priority", "due_date", "start_date", "estimate_minutes",
        "tags", "links", "progress", "metadata", "version", "created_at", "updated_at")  # fmt: skip
DAY = timedelta(days=1)
RICH: dict[str, Any] = {
    "description": "Of every kind",
    "priority": 5,
    "due_date": "2027-01-31",
    "start_date": "2027-01-11",
    "estimate_minutes": 90,
    "tags": ["work", "home"],
    "links": ["https://example.com/"],
    "checklist": [{"text": "One", "done": True}, {"text": "Two"}],
    "metadata": {"project": {"name": "Apollo"}, "odd": 1},
}


async def patch(account: Account, task_id: str, **changes: Any) -> None:
    answer = await account.patch(f"/tasks/{task_id}", json=changes)
    assert answer.status_code == 200, answer.text


async def live(ada: Account, bob: Account) -> dict[str, str]:
    """Tasks that were created, changed, completed, opened again, deleted, restored, purged and imported; their ids."""
    ids = {
        name: str((await ada.make_task(name.title(), **RICH))["id"]) for name in ("plain", "changed", "done", "gone", "purged")
    }
    ids["reopened"] = str((await ada.make_task("Reopened", status="in_progress"))["id"])
    ids["restored"] = str((await bob.make_task("Restored"))["id"])
    await patch(ada, ids["changed"], title="Another title", priority=1, tags=["home"], due_date=None, metadata={"project": None})
    await patch(ada, ids["changed"], title="A third title", checklist=[{"text": "New"}])
    await patch(ada, ids["done"], status="in_progress")
    await patch(ada, ids["done"], status="done")
    for status in ("done", "todo", "done", "in_progress"):
        await patch(ada, ids["reopened"], status=status)
    for name in ("gone", "purged"):
        await ada.delete(f"/tasks/{ids[name]}")
    assert (await ada.delete(f"/trash/{ids['purged']}")).status_code == 204
    await bob.delete(f"/tasks/{ids['restored']}")
    assert (await bob.post(f"/tasks/{ids['restored']}/restore")).status_code == 200
    times = {"created_at": "2026-01-01T00:00:00Z", "completed_at": "2026-01-03T12:00:00Z", "status": "done"}
    await take(ada, [{"title": "Imported", "key": "k", **times}])
    assert (await ada.patch("/users/me", json={"username": "countess"})).status_code == 200
    await follow_due()
    return ids


async def shown(*accounts: Account, path: str = "/tasks") -> dict[str, Any]:
    """What the API shows of all their tasks, by id."""
    return {task["id"]: task for account in accounts for task in (await account.get(f"{path}?limit=100")).json()}


def expected(task: dict[str, Any]) -> dict[str, Any]:
    found = {name: task[name] for name in SAME}
    return found | {
        "owner_id": task["owner"]["id"],
        "owner": task["owner"]["username"],
        "checklist_items": len(task["checklist"]),
        "checklist_done": sum(item["done"] for item in task["checklist"]),
    }


def said(row: dict[str, Any]) -> dict[str, Any]:
    found = {name: as_day(row[name]) if name in DAYS else as_json(row[name]) for name in SAME}
    return found | {name: as_json(row[name]) for name in ("owner_id", "owner", "checklist_items", "checklist_done")}


async def test_rows_are_what_the_api_shows(ada: Account, bob: Account) -> None:
    await live(ada, bob)
    assert {str(row["_id"]): said(row) for row in await rows("v_tasks")} == {
        task_id: expected(task) for task_id, task in (await shown(ada, bob)).items()
    }
    deleted = await rows("v_tasks_deleted")
    trash = await shown(ada, bob, path="/trash")
    assert {str(row["_id"]): said(row) for row in deleted} == {task_id: expected(task) for task_id, task in trash.items()}
    (row,) = deleted
    assert {name: as_json(row[name]) for name in ("deleted_at", "expires_at")}.items() <= trash[str(row["_id"])].items()


async def test_purged_tasks_are_in_no_view(ada: Account, bob: Account) -> None:
    purged = ObjectId((await live(ada, bob))["purged"])
    assert (await stored_task(str(purged)))["state"] == "purged"
    names = {"v_tasks": "_id", "v_tasks_deleted": "_id"}
    names |= dict.fromkeys(("v_task_changes", "v_status_periods", "v_checklist_items", "v_task_tags"), "task_id")
    for view, name in names.items():
        found = {row[name] for row in await rows(view)}
        assert found
        assert purged not in found


@pytest.mark.parametrize(
    ("due", "status", "overdue"), [(-1, "todo", True), (0, "todo", False), (-1, "done", False), (None, "todo", False)]
)
async def test_overdue_is_by_day(ada: Account, due: int | None, status: str, overdue: bool) -> None:
    day = None if due is None else (utc_now() + due * DAY).date().isoformat()
    await ada.make_task("A task", due_date=day, status=status)
    assert [row["overdue"] for row in await rows("v_tasks")] == [overdue]


async def test_times_are_in_days(ada: Account) -> None:
    before = utc_now()
    await take(ada, [{"title": "Open", "created_at": (before - 3 * DAY).isoformat()}])
    times = {"created_at": "2026-01-01T00:00:00Z", "completed_at": "2026-01-03T12:00:00Z"}
    await take(ada, [{"title": "Done", "status": "done", **times}])
    found = {row["title"]: (row["age_days"], row["lead_time_days"]) for row in await rows("v_tasks")}
    assert found["Done"] == (2.5, 2.5)
    assert found["Open"] == (pytest.approx(3, abs=0.01), None)


async def test_changes_are_the_history_of_the_api(ada: Account, bob: Account) -> None:
    await live(ada, bob)
    found = await rows("v_task_changes", {"in_trash": False})
    for account in (ada, bob):
        for task_id in await shown(account):
            history = (await account.get(f"/tasks/{task_id}/history")).json()
            theirs = [
                (entry["version"], entry["at"], entry["by"]["id"], entry["by"]["username"], entry["action"], name, change)
                for entry in history
                for name, change in (entry["changes"] or {None: {"before": None, "after": None}}).items()
            ]
            ours = [row for row in found if str(row["task_id"]) == task_id]
            assert in_order(change_of(row) for row in ours) == in_order(theirs)
            assert {str(row["owner_id"]) for row in ours} == {account.id}
            assert all(row["at"] <= row["task_changed_at"] for row in ours)


def change_of(row: dict[str, Any]) -> tuple[Any, ...]:
    show = as_day if row["field"] in DAYS else as_json
    change = {name: show(row[name]) for name in ("before", "after")}
    return row["version"], as_json(row["at"]), str(row["by_id"]), row["by"], row["action"], row["field"], change


def in_order(changes: Any) -> list[Any]:
    return sorted(changes, key=lambda each: (each[0], each[5] or ""))


async def test_changes_include_the_trash(ada: Account, bob: Account) -> None:
    gone = ObjectId((await live(ada, bob))["gone"])
    found = await rows("v_task_changes", {"in_trash": True})
    assert [(row["task_id"], row["action"], row["field"]) for row in found] == [(gone, "create", None), (gone, "delete", None)]


async def periods(task_id: str) -> list[dict[str, Any]]:
    return sorted(
        await rows("v_status_periods", {"task_id": ObjectId(task_id)}), key=lambda row: (row["from"], row["until"] is None)
    )


async def test_periods_follow_the_writes(ada: Account, bob: Account) -> None:
    ids = await live(ada, bob)
    statuses = {name: [row["status"] for row in await periods(ids[name])] for name in ("plain", "done", "reopened", "gone")}
    assert statuses == {
        "plain": ["todo"],
        "done": ["todo", "in_progress", "done"],
        "reopened": ["in_progress", "done", "todo", "done", "in_progress"],
        "gone": [],
    }


def are_whole(found: list[dict[str, Any]], created_at: datetime) -> bool:
    """Whether periods cover the time from a creation to now."""
    starts = [row["from"] for row in found]
    return starts[0] == created_at and [row["until"] for row in found] == [*starts[1:], None]


async def test_periods_outlive_the_history(ada: Account) -> None:
    task_id = (await ada.make_task("Often changed"))["id"]
    for number in range(130):
        await patch(ada, task_id, status=("in_progress", "todo")[number % 2])
    found, task = await periods(task_id), await stored_task(task_id)
    assert (len(task["history"]), len(found)) == (110, 131)
    assert len(await rows("v_task_changes", {"task_id": ObjectId(task_id), "field": "status"})) == 100
    assert {row["status"] for row in found[::2]} == {"todo"}
    assert are_whole(found, task["created_at"])


async def test_first_period_counts_from_creation(ada: Account) -> None:
    """Beyond the bound, and if an import has set the time of creation."""
    task_id = (await ada.make_task("Older than its changes"))["id"]
    at = utc_now() - timedelta(hours=1)
    many = [{"status": ("todo", "in_progress")[n % 2], "at": at + n * timedelta(seconds=1)} for n in range(MAX_STATUS_CHANGES)]
    stored = {"created_at": at - DAY, "status_changes": many, "status": "in_progress"}
    await collection(TaskDocument).update_one({"_id": ObjectId(task_id)}, {"$set": stored}, bypass_document_validation=True)
    await patch(ada, task_id, status="done")
    found, task = await periods(task_id), await stored_task(task_id)
    assert (len(found), found[0]["status"], found[0]["days"]) == (MAX_STATUS_CHANGES, "in_progress", pytest.approx(1, abs=0.01))
    assert are_whole(found, task["created_at"])


async def test_no_period_begins_before_creation(ada: Account) -> None:
    task_id = (await ada.make_task("Created later", status="in_progress"))["id"]
    created = utc_now() + DAY
    await collection(TaskDocument).update_one({"_id": ObjectId(task_id)}, {"$set": {"created_at": created}})
    await patch(ada, task_id, status="done")
    assert are_whole(found := await periods(task_id), (await stored_task(task_id))["created_at"])
    assert found[0]["days"] == 0


async def test_items_are_those_of_the_api(ada: Account, bob: Account) -> None:
    await live(ada, bob)
    theirs = [
        (item["id"], task["id"], task["owner"]["id"], task["status"], place, item["text"], item["done"])
        for task in (await shown(ada, bob)).values()
        for place, item in enumerate(task["checklist"])
    ]
    names = ("_id", "task_id", "owner_id", "task_status", "position", "text", "done")
    ours = [tuple(as_json(row[name]) for name in names) for row in await rows("v_checklist_items")]
    assert sorted(ours) == sorted(theirs)
    assert len(ours) == 5


async def test_tags_are_those_of_the_api(ada: Account, bob: Account) -> None:
    await live(ada, bob)
    theirs = {
        (task["id"], task["owner"]["id"], task["status"], task["due_date"], tag)
        for task in (await shown(ada, bob)).values()
        for tag in task["tags"] or [None]
    }
    found = await rows("v_task_tags")
    ours = [(str(row["task_id"]), str(row["owner_id"]), row["status"], as_day(row["due_date"]), row["tag"]) for row in found]
    assert {*ours} == theirs
    assert len(ours) == len(theirs) > len({task_id for task_id, *_ in ours})


async def test_tasks_of_earlier_versions_have_periods(ada: Account) -> None:
    """Also while they lack what is worked out from their history."""
    adopted = {"owner_id": ObjectId(ada.id), "state": "active"}
    named = {version: {**task, **adopted} for version, task in TASKS.items() if "owner" in task}
    await collection(TaskDocument).insert_many(named.values(), bypass_document_validation=True)
    for version, task in named.items():
        found = await periods(str(task["_id"]))
        assert [row["status"] for row in found] == ["todo", "done"][: 1 + task["completed"]], version
        assert are_whole(found, task["created_at"].replace(tzinfo=None)), version
    assert {row["checklist_items"] for row in await rows("v_tasks")} == {0}
    assert len(await rows("v_task_changes")) == sum(len(task.get("history", [])) for task in named.values()) + 3


async def test_flow_is_a_group_by(ada: Account, bob: Account) -> None:
    await live(ada, bob)
    day = midnight(utc_now().date() + DAY)
    then = [{"$match": {"from": {"$lt": day}, "$or": [{"until": None}, {"until": {"$gte": day}}]}}]
    found = await rows_of("v_status_periods", [*then, {"$group": {"_id": "$status", "tasks": {"$sum": 1}}}])
    rows_today = [(await account.get("/stats/flow?by=day")).json()[-1] for account in (ada, bob)]
    for status in ("todo", "in_progress", "done"):
        assert sum(row[status] for row in rows_today) == sum(each["tasks"] for each in found if each["_id"] == status)
