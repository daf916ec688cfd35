"""Generated tasks with their histories, around the changes of the clocks of some time zones."""

from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from bson import ObjectId
from hypothesis import strategies as st

from taskapi.core.clock import midnight
from tests.stats.brute_force import PLACES

BSON = dict[str, Any]
DAY = timedelta(days=1)
QUARTERS = 4 * 24 * 40
EDITS: dict[str, list[Any]] = {
    "title": ["One task", "Another"],
    "priority": [1, 2],
    "tags": [[], ["a"]],
    "due_date": [None, midnight(PLACES["UTC"])],
}


def apply(task: BSON, at: datetime, action: str, **changes: Any) -> None:
    """Writes to a task as the service does: with a version, an entry in the history, and the beginning of a new status."""
    if "status" in changes:
        done = changes["status"] == "done"
        changes |= {"completed": done, "progress": float(done)}
        changes["completed_at"] = (task["completed_at"] if task["completed"] else at) if done else None
        if changes["status"] != task["status"]:
            task["status_changes"].append({"status": changes["status"], "at": at})
    before = {name: task[name] for name, value in changes.items() if task[name] != value}
    task.update(changes, version=task["version"] + 1, updated_at=at, changed_at=at)
    entry = {**task["history"][0], "at": at, "action": action, "version": task["version"], "before": before}
    task["history"].append(entry)


def create(template: BSON, owner: BSON, at: datetime) -> BSON:
    """A new task."""
    return {
        **template,
        "_id": ObjectId(),
        "owner_id": owner["id"],
        "owner": owner,
        "status": "todo",
        "completed": False,
        "completed_at": None,
        "progress": 0.0,
        "checklist": [],
        "version": 1,
        "created_at": at,
        "updated_at": at,
        "changed_at": at,
        "status_changes": [{"status": "todo", "at": at}],
        "history": [{**template["history"][0], "at": at, "by": owner, "action": "create", "version": 1, "before": {}}],
    }


def delete(task: BSON, at: datetime) -> None:
    """Moves a task to the trash."""
    apply(task, at, "delete")
    task["state"], task["trash"] = "trash", {"owner": task.pop("owner"), "deleted_at": at, "expires_at": at + 30 * DAY}


@st.composite
def tasks(draw: st.DrawFn, template: BSON, owners: list[BSON], zone: str) -> list[BSON]:
    """Tasks that their owners create, change, complete, reopen, and sometimes delete."""
    around = PLACES[zone]
    quarters = st.integers(-QUARTERS, QUARTERS).map(lambda n: midnight(around) + timedelta(minutes=15 * n))
    midnights = st.integers(-40, 40).map(lambda n: datetime.combine(around + n * DAY, time.min, ZoneInfo(zone)))
    just = st.sampled_from([timedelta(0), timedelta(milliseconds=1), timedelta(milliseconds=-1)])
    times = st.tuples(st.one_of(quarters, midnights), just).map(lambda pair: (pair[0] + pair[1]).astimezone(ZoneInfo("UTC")))
    statuses = st.sampled_from(["todo", "in_progress", "done"]).map(lambda status: {"status": status})
    edits = st.sampled_from([{name: value} for name, values in EDITS.items() for value in values])
    writes = st.lists(st.tuples(times, st.one_of(statuses, statuses, edits)), max_size=6)
    found = []
    for _ in range(draw(st.integers(1, 8))):
        first, *later = sorted([(draw(times), {}), *draw(writes)], key=lambda write: write[0])
        task = create(template, draw(st.sampled_from(owners)), first[0])
        for at, changes in later:
            apply(task, at, "update", **changes)
        if draw(st.integers(0, 5)) == 0:
            delete(task, task["updated_at"])
        found.append(task)
    return found
