"""The history of a task, which every write adds to within the task itself.

An entry contains the values *before* the write of the fields that it changed. The value after it is in the next entry that
changes the field, or in the task: this takes half the bytes, and the two can never disagree.
"""

from collections.abc import Iterable, Reversible
from datetime import datetime
from enum import StrEnum
from typing import Any

from bson import ObjectId

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.clock import in_utc
from taskapi.core.logs import request_id
from taskapi.db.connection import BSON
from taskapi.db.expressions import integer_or_one, list_or_empty
from taskapi.tasks.fields import LEGACY_DEFAULTS
from taskapi.tasks.storage.marks import next_changed_at

Versions = frozenset[int] | None  # those that a task may have; None for any

MAX_ENTRIES = 100  # that callers see
MAX_STORED = 120  # entries; if there are more, all but the last MAX_ENTRIES are dropped
MAX_BYTES = 64 * 1024  # of all entries, as BSON; if the last MAX_ENTRIES are larger, the older half of those is dropped, too
MAX_ADDED_BYTES = 8 * 1024  # by a new entry, apart from the values before the write, which the task contained
ABSENT = {**LEGACY_DEFAULTS, "key": None}  # what the history says of fields that the task lacked


_SHOWN_VERSION: BSON = integer_or_one("$version")
"""The version that a task shows, even if a script has stored something else; ``reading.version_of`` follows the same rule."""
NEXT_VERSION: BSON = {"$add": [_SHOWN_VERSION, 1]}


def at_version(versions: Versions) -> BSON:
    """The condition that a task shows one of ``versions``."""
    if versions is None:
        return {}
    allowed = sorted(versions)
    odd = {"version": {"$not": {"$type": ["int", "long"]}}, "$expr": {"$in": [_SHOWN_VERSION, allowed]}}
    return {"$or": [{"version": {"$in": allowed}}, odd]}


class Action(StrEnum):
    """The purpose of a write."""

    create = "create"
    update = "update"
    revert = "revert"
    delete = "delete"
    restore = "restore"


def entry(action: Action, by: UserRead, at: datetime) -> BSON:
    """An entry without the version that the write creates and the values before it, which only MongoDB knows."""
    author = {"id": by.object_id, "username": by.username}
    return {"at": at, "by": author, "action": action, "request_id": request_id.get()}


def begin_history(by: UserRead, at: datetime) -> list[BSON]:
    """The history of a task that is being created."""
    return [{**entry(Action.create, by, at), "version": 1, "before": {}}]


def is_of(found: Any, added: BSON) -> bool:
    """Whether ``found`` in a history is the entry that a write has ``added``; their authors may have been renamed since."""
    if not isinstance(found, dict):
        return False
    at, by = found.get("at"), found.get("by")
    return (
        found.get("request_id") == added["request_id"]
        and isinstance(at, datetime)
        and in_utc(at) == added["at"]
        and isinstance(by, dict)
        and by.get("id") == added["by"]["id"]
        and found.get("action") == added["action"]
    )


def changed_by(author_id: ObjectId, at: datetime) -> BSON:
    """The filter of the tasks that this request has changed, with an entry of that author and time in their history."""
    return {"history": {"$elemMatch": {"at": at, "request_id": request_id.get(), "by.id": author_id}}}


def newest(history: Any) -> Any:
    """The entries of a stored history that callers see; what a script has stored in place of a list as it is."""
    return history[-MAX_ENTRIES:] if isinstance(history, list) else history


def undo(stored: BSON, entries: Reversible[BSON]) -> BSON:
    """A stored task as it was before the last ``entries`` of its history; its version stays."""
    state = {**LEGACY_DEFAULTS, **stored}
    for each in reversed(entries):
        state |= each["before"]
    return state


def record_history(first: BSON, *stages: BSON, touched: Iterable[str], added: BSON) -> list[BSON]:
    """Extends an update so that it increments the version, marks the change, and adds an entry to the history.

    The entry has the former values of the ``touched`` fields.

    The update sets ``first``, then runs the ``stages``; ``added`` comes from ``entry``.
    ``record_history({"title": "New", "tags": ["x"]}, touched=["title", "tags"], added=entry(Action.update, by, at))``, e.g.:

    Document in:
        {"title": "Old", "tags": ["x"], "version": 1, "history": []}

    Stages:
        {"$set": {
            "version": NEXT_VERSION,
            "changed_at": next_changed_at(at),
            "before": {"$mergeObjects": [{"title": "$title", "tags": "$tags", "bytes": {"$bsonSize": "$$ROOT"}}]},
            "title": "New",
            "tags": ["x"],
        }}
        {"$set": {
            "history": drop_oldest({"$concatArrays": [list_or_empty("$history"), [{"$mergeObjects": [
                {"$literal": entry(Action.update, by, at)},
                {"version": "$version", "before": {
                    "title": {"$cond": [{"$ne": ["$before.title", "$title"]}, "$before.title", "$$REMOVE"]},
                    "tags": {"$cond": [{"$ne": ["$before.tags", "$tags"]}, "$before.tags", "$$REMOVE"]},
                }},
            ]}]]}, "$before.bytes"),
            "before": "$$REMOVE",
        }}

    Document out:
        {"title": "New", "tags": ["x"], "version": 2, "history": [
            {**entry(Action.update, by, at), "version": 2, "before": {"title": "Old"}},
        ]}
    """
    stored: BSON = {name: f"${name}" for name in touched}
    stored |= {name: {"$ifNull": [f"${name}", {"$literal": empty}]} for name, empty in ABSENT.items() if name in stored}
    before: BSON = {
        name: {"$cond": [{"$ne": [f"$before.{name}", now]}, f"$before.{name}", "$$REMOVE"]} for name, now in stored.items()
    }
    if "metadata" in before:  # 1 and 1.0 are equal to MongoDB, but not to callers
        before["metadata"] = "$before.metadata"
    complete = {"$mergeObjects": [{"$literal": added}, {"version": "$version", "before": before}]}
    history = {"$concatArrays": [list_or_empty("$history"), [complete]]}
    # A computed value, because an object would be merged into what a script may have stored under this name.
    kept = {"before": {"$mergeObjects": [{**stored, "bytes": {"$bsonSize": "$$ROOT"}}]}}
    return [
        {"$set": {"version": NEXT_VERSION, "changed_at": next_changed_at(added["at"]), **kept, **first}},
        *stages,
        {"$set": {"history": drop_oldest(history, "$before.bytes"), "before": "$$REMOVE"}},
    ]


def drop_oldest(entries: BSON | str, bytes_before: BSON | str) -> BSON:
    """The expression of ``entries``, or of the newest if there are more than ``MAX_STORED`` or they exceed ``MAX_BYTES``.

    To drop the oldest with each write would take longer: MongoDB would compare each entry with the one that was in its place.
    ``bytes_before`` is the size of the task before the write. If it was small, the entries need not be measured.

    ``{"$set": {"history": drop_oldest("$history", {"$bsonSize": "$$ROOT"})}}``, for example:

    Document in:
        {"history": [{"version": version} for version in range(1, 122)]}

    Stages:
        {"$set": {"history": {"$let": {
            "vars": {"all": "$history"},
            "in": {"$cond": [
                {"$or": [
                    {"$gt": [{"$size": "$$all"}, 120]},
                    {"$and": [
                        {"$gt": [{"$bsonSize": "$$ROOT"}, 57344]},
                        {"$gt": [{"$bsonSize": {"entries": "$$all"}}, 65536]},
                    ]},
                ]},
                keep_newest("$$all"),
                "$$all",
            ]},
        }}}}

    Document out:
        {"history": [{"version": version} for version in range(22, 122)]}
    """
    are_many = {"$gt": [{"$size": "$$all"}, MAX_STORED]}
    are_large = {"$and": [{"$gt": [bytes_before, MAX_BYTES - MAX_ADDED_BYTES]}, _exceed_bytes("$$all")]}
    return {
        "$let": {
            "vars": {"all": entries},
            "in": {"$cond": [{"$or": [are_many, are_large]}, keep_newest("$$all"), "$$all"]},
        }
    }


def keep_newest(entries: BSON | str) -> BSON:
    """The expression of the newest of ``entries``: at most ``MAX_ENTRIES``, and half of those when they exceed ``MAX_BYTES``.

    ``{"$set": {"history": keep_newest("$history")}}``, for example:

    Document in:
        {"history": [{"version": version} for version in range(1, 104)]}

    Stages:
        {"$set": {"history": {"$let": {
            "vars": {"newest": {"$slice": ["$history", -100]}},
            "in": {"$cond": [
                {"$gt": [{"$bsonSize": {"entries": "$$newest"}}, 65536]},
                {"$slice": ["$$newest", {"$multiply": [-1, {"$ceil": {"$divide": [{"$size": "$$newest"}, 2]}}]}]},
                "$$newest",
            ]},
        }}}}

    Document out:
        {"history": [{"version": version} for version in range(4, 104)]}
    """
    half = {"$multiply": [-1, {"$ceil": {"$divide": [{"$size": "$$newest"}, 2]}}]}
    return {
        "$let": {
            "vars": {"newest": {"$slice": [entries, -MAX_ENTRIES]}},
            "in": {"$cond": [_exceed_bytes("$$newest"), {"$slice": ["$$newest", half]}, "$$newest"]},
        }
    }


def _exceed_bytes(entries: str) -> BSON:
    return {"$gt": [{"$bsonSize": {"entries": entries}}, MAX_BYTES]}
