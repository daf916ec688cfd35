"""What a write leaves in a task for readers of the database: when the task changed, and when its status did.

``changed_at`` is the time of the last write, whatever wrote, and later with each write of a task. It is the time at which the
write began, by the clock of MongoDB, or of the service for a new task and a direct change: the write may be visible only some
time after that.
docs/changes.md says how a script finds what has changed and misses nothing.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from taskapi.core.clock import utc_now
from taskapi.db.connection import BSON
from taskapi.db.expressions import MAX_TIME, is_time, list_or_empty
from taskapi.tasks.schemas import Status

MAX_STATUS_CHANGES = 1000
UNRECORDED_STATUS_CHANGES: Final[BSON] = {
    "$cond": [
        {"$and": [{"$eq": ["$status", Status.done.value]}, is_time("$completed_at")]},
        [{"status": Status.todo.value}, {"status": Status.done.value, "at": "$completed_at"}],
        [{"status": "$status"}],
    ]
}
"""The expression of the status changes of a task without any: version 1.4 and before kept none.

As for an import, a task that is done was ``todo`` until it was completed. The first change lacks its time, that of the creation.
"""


def later(path: str, now: datetime | str | BSON) -> BSON:
    """The expression of ``now``, or of a millisecond after the time stored at ``path`` if that is not earlier."""
    is_ahead = {"$and": [{"$gte": [path, now]}, {"$lt": [path, MAX_TIME]}]}  # only a date can be both
    return {"$cond": [is_ahead, {"$add": [path, 1]}, now]}


NEXT_CHANGED_AT = later("$changed_at", "$$NOW")
"""The value that an update pipeline sets ``changed_at`` to, if it adds no entry to the history."""


def next_changed_at(at: datetime) -> BSON:
    """The same, for a write that adds an entry of that time to the history: it is never later than ``changed_at``."""
    return later("$changed_at", {"$max": ["$$NOW", at]})


def mark_new(tasks: Iterable[BSON]) -> None:
    """Sets ``changed_at`` of new tasks; to be called right before they are sent to MongoDB."""
    now = utc_now()
    for task in tasks:
        task["changed_at"] = now


def begin_status_changes(status: Status, created_at: datetime, completed_at: datetime | None) -> list[BSON]:
    """The status changes of a new task.

    An imported task may have been completed after its creation: what it was in between is not known, and counts as ``todo``.
    """
    if status is Status.done and completed_at is not None and completed_at > created_at:
        return [{"status": Status.todo, "at": created_at}, {"status": Status.done, "at": completed_at}]
    return [{"status": status, "at": created_at}]


def add_status_change(now: datetime, completed_at: BSON | None = None) -> BSON:
    """The expression of ``status_changes`` within ``record_history``: with the new status, if it differs from the one before.

    The times never go back, even if the clocks of two servers differ. The first status begins with the creation, whose time an
    import may set. So it may set when the task was completed: a task that was done already is so from ``completed_at`` on.
    """
    at = completed_at or now
    created = {"status": "$before.status", "at": "$created_at"}
    had_one = {"$and": [{"$eq": ["$status_changes.status", ["$before.status"]]}, is_time("$created_at")]}
    known = {"$cond": [{"$and": [{"$isArray": "$status_changes"}, {"$not": [had_one]}]}, "$status_changes", [created]]}
    last = {"$cond": [had_one, "$created_at", {"$arrayElemAt": [list_or_empty("$status_changes.at"), -1]}]}
    added = {"status": "$status", "at": {"$max": [at, last]}}
    changes = {"$slice": [{"$concatArrays": [known, [added]]}, -MAX_STATUS_CHANGES]}
    same = _move_completion(completed_at) if completed_at else "$status_changes"
    return {"$cond": [{"$eq": ["$before.status", "$status"]}, same, changes]}


def _move_completion(at: BSON) -> BSON:
    """The status changes of a task that stays done: the last begins ``at`` that time, but not before the one before it.

    A task that was done from the beginning was ``todo`` until then, as in ``begin_status_changes``.
    """
    size, done = {"$size": "$status_changes"}, Status.done.value
    first = {"$cond": [{"$eq": [size, 1]}, Status.todo.value, {"$first": "$status_changes.status"}]}
    all_but_last = {"$slice": ["$status_changes", {"$subtract": [size, 1]}]}
    others = {"$cond": [{"$lte": [size, 2]}, [{"status": first, "at": "$created_at"}], all_but_last]}
    last = {"status": done, "at": {"$max": [at, {"$last": "$$others.at"}]}}
    moved = {"$let": {"vars": {"others": others}, "in": {"$concatArrays": ["$$others", [last]]}}}
    is_done = {"$and": [{"$isArray": "$status_changes"}, {"$eq": [{"$last": "$status_changes.status"}, done]}]}
    is_other = {"$and": [is_done, is_time("$created_at"), {"$ne": ["$before.completed_at", at]}]}
    return {"$cond": [is_other, moved, "$status_changes"]}
