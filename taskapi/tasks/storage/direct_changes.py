"""Changes of fields that are stored as sent, worked out from the task as it is stored.

A direct change says what MongoDB is to store, and applies only to the ``version`` and ``changed_at`` that were read. It takes
MongoDB four fifths of the time of the update pipeline, and the task after it is known beforehand. It stores the same, so a task
in which anything is out of the ordinary, because a script wrote it or its history is to be cut, is left to the pipeline.
"""

from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeGuard

from taskapi.core.clock import in_utc, utc_now
from taskapi.db.connection import BSON
from taskapi.db.expressions import MAX_TIME
from taskapi.tasks.storage.history import MAX_ADDED_BYTES, MAX_BYTES, MAX_STORED, Versions
from taskapi.tasks.storage.pipelines import Write
from taskapi.tasks.storage.reading import PUBLIC

BYTES, ENTRIES = "bytes", "entries"  # names that no public field has
READ: BSON = {
    **PUBLIC,
    "owner_id": 1,
    "changed_at": 1,
    BYTES: {"$bsonSize": "$$ROOT"},
    ENTRIES: {"$cond": [{"$isArray": "$history"}, {"$size": "$history"}, MAX_STORED]},
}
"""The projection of a task to what ``direct_change`` takes: to decode its history would take longer."""
MILLISECOND = timedelta(milliseconds=1)


class DirectChange(NamedTuple):
    """What MongoDB is to do, and the outcome."""

    unchanged: BSON  # the version and the time of change that were read
    update: BSON
    after: BSON  # the task as it is then stored


def direct_change(stored: BSON, versions: Versions, write: Write) -> DirectChange | None:
    """The change of a task that was read as ``READ``; None if the pipeline of ``write`` is to make it."""
    if stored[ENTRIES] >= MAX_STORED or stored[BYTES] > MAX_BYTES - MAX_ADDED_BYTES:
        return None
    version, updated_at, changed_at = (stored.get(name) for name in ("version", "updated_at", "changed_at"))
    if write.values is None or type(version) is not int or (versions is not None and version not in versions):
        return None
    if not _is_time(updated_at) or not _is_time(changed_at):
        return None
    if not all(name in stored and _is_comparable(stored[name], value) for name, value in write.values.items()):
        return None
    at: datetime = write.added["at"]
    values = {**write.values, "updated_at": _later(updated_at, at)}
    before = {name: stored[name] for name, value in values.items() if _in_utc(stored[name]) != value}
    entry = {**write.added, "version": version + 1, "before": before}
    values |= {"version": version + 1, "changed_at": _later(changed_at, max(utc_now(), at))}
    unchanged = {"version": version, "changed_at": changed_at}
    return DirectChange(unchanged, {"$set": values, "$push": {"history": entry}}, {**stored, **values})


def _later(stored: datetime, now: datetime) -> datetime:
    """The same as ``marks.later``."""
    return max(in_utc(stored) + MILLISECOND, now)


def _is_time(stored: Any) -> TypeGuard[datetime]:
    return isinstance(stored, datetime) and in_utc(stored) < MAX_TIME


def _is_comparable(stored: Any, value: Any) -> bool:
    """Whether the two are equal here if and only if they are to MongoDB, for which 1 equals 1.0, but not true."""
    if stored is None or value is None:
        return True
    if isinstance(value, list):
        return type(stored) is list and all(type(each) is str for each in (*stored, *value))
    return type(stored) is type(value)


def _in_utc(stored: Any) -> Any:
    return in_utc(stored) if isinstance(stored, datetime) else stored
