"""Makes the rows of an extract from stored documents."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from taskapi.analytics.extracts import values
from taskapi.analytics.extracts.tables import TABLES, TASKS
from taskapi.db.connection import BSON
from taskapi.db.damaged import json_value
from taskapi.db.expressions import MAX_TIME
from taskapi.tasks.schemas import Status
from taskapi.tasks.storage.history import newest
from taskapi.tasks.storage.scope import ACTIVE, PURGED

Row = tuple[Any, ...]

DAY = timedelta(days=1)
ERASED: Final = "erased"  # the state of a task that was erased with its owner's account
UNKNOWN: Final = datetime(1970, 1, 1)
END: Final = MAX_TIME.astimezone(UTC).replace(tzinfo=None)
UNRECORDED = "updated_at"  # a field that every write changes


def changed_at(task: BSON) -> datetime:
    """When the task was last written; 1970 if that is unknown, so that any other row of the task is newer."""
    found = values.moment(task.get("changed_at"))
    return found if found is not None and found < END else UNKNOWN


def task_rows(task: BSON) -> Iterator[Row]:
    """The row of a task, in the trash and as a tombstone too."""
    get, state = task.get, values.text(task.get("state"))
    trash, created_at, completed_at = get("trash"), values.moment(get("created_at")), values.moment(get("completed_at"))
    items, is_purged = values.members(get("checklist")), state == PURGED
    took = (completed_at - created_at) / DAY if created_at and completed_at and get("status") == "done" else None
    yield (
        str(task["_id"]),
        values.reference(get("owner_id")),
        values.text(values.member(get("owner") or values.member(trash, "owner"), "username")),
        state,
        state != ACTIVE,
        values.text(get("title")),
        values.text(get("description")),
        values.text(get("status")),
        values.flag(get("completed")),
        completed_at,
        values.integer(get("priority")),
        values.day(get("due_date")),
        values.day(get("start_date")),
        values.integer(get("estimate_minutes")),
        values.texts(get("tags")),
        values.texts(get("links")),
        None if is_purged else len(items),
        None if is_purged else sum(item.get("done") is True for item in items),
        values.number(get("progress")),
        json_value(get("metadata")),
        values.text(get("key")),
        values.integer(get("version")),
        created_at,
        values.moment(get("updated_at")),
        changed_at(task),
        values.moment(values.member(trash, "deleted_at")),
        values.moment(get("expires_at") or values.member(trash, "expires_at")),
        took,
    )


def period_rows(task: BSON) -> Iterator[Row]:
    """The periods in which a task had one status, by the rule of ``v_status_periods``."""
    if task.get("state") == PURGED:
        return
    ids = (str(task["_id"]), values.reference(task.get("owner_id")))
    starts = _status_starts(task)
    for (status, begun), (_, ended) in zip(starts, [*starts[1:], (None, None)], strict=True):
        days = (ended - begun) / DAY if begun and ended else None
        yield (*ids, values.text(status), begun, ended, days, changed_at(task))


def _status_starts(task: BSON) -> list[tuple[Any, datetime | None]]:
    """The statuses of a task in order, each with its beginning. It had none before its creation, which an import may set."""
    created_at, completed_at = values.moment(task.get("created_at")), values.moment(task.get("completed_at"))
    changes = [(change.get("status"), values.moment(change.get("at"))) for change in values.members(task.get("status_changes"))]
    changes = [(status, at) for status, at in changes if at]
    if not changes:  # none were recorded up to version 1.4
        status = task.get("status")
        is_completed = status == Status.done and completed_at
        changes = [(Status.todo, None), (Status.done, completed_at)] if is_completed else [(status, None)]
    (first, at), *later = changes
    starts = [(first, created_at or at)]
    for status, at in later:
        starts.append((status, max(filter(None, (at, starts[-1][1])))))
    return starts


def change_rows(task: BSON) -> Iterator[Row]:
    """The changes in the history of a task, newest first."""
    ids = (str(task["_id"]), values.reference(task.get("owner_id")))
    state = dict(task)  # as it was after the write
    for entry in reversed(values.members(newest(task.get("history")))):
        by, before = entry.get("by"), entry.get("before")
        author = (values.reference(values.member(by, "id")), values.text(values.member(by, "username")))
        about = (values.integer(entry.get("version")), values.moment(entry.get("at")), *author, values.text(entry.get("action")))
        stored = before if isinstance(before, dict) else {}
        texts = {name: (json_value(value), json_value(state.get(name))) for name, value in stored.items() if name != UNRECORDED}
        changed = {name: pair for name, pair in texts.items() if pair[0] != pair[1]}  # metadata is recorded unchanged, too
        for name, (value, after) in changed.items():
            yield (*ids, *about, name, value, after, changed_at(task))
        if not changed:
            yield (*ids, *about, None, None, None, changed_at(task))
        state |= stored


def item_rows(task: BSON) -> Iterator[Row]:
    """The items in the checklist of a task."""
    ids = (str(task["_id"]), values.reference(task.get("owner_id")))
    status = values.text(task.get("status"))
    for position, item in enumerate(values.members(task.get("checklist"))):
        about = (values.text(item.get("text")), values.flag(item.get("done")), status)
        yield (values.reference(item.get("id")), *ids, position, *about, changed_at(task))


FROM_TASK: Final[Mapping[str, Callable[[BSON], Iterator[Row]]]] = {
    TASKS: task_rows,
    "status_periods": period_rows,
    "task_changes": change_rows,
    "checklist_items": item_rows,
}
"""What makes the rows of a task in each table."""


def user_row(user: BSON) -> Row:
    """The row of an account: no address, no full name, no secret."""
    return (
        str(user["_id"]),
        values.text(user.get("username")),
        values.moment(user.get("created_at")),
        values.moment(user.get("updated_at")),
        values.flag(user.get("disabled", False)),
        values.text(user.get("role", "user")),
        values.flag(user.get("two_factor", False)),
        user.get("email") is not None,
        values.flag(user.get("email_verified", False)),
        values.moment(values.member(user.get("leaving"), "due_at")),
    )


def erased_row(task_id: str, owner_id: str, at: datetime) -> Row:
    """The row that says that a task was erased at a time, with its owner's account."""
    known = {"_id": task_id, "owner_id": owner_id, "state": ERASED, "deleted": True, "changed_at": at}
    return tuple(known.get(name) for name in TABLES[TASKS].names)
