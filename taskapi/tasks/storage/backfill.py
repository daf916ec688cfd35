"""The update that gives tasks what each write of this version leaves in them (see ``marks``), and that earlier versions did not.

The status changes are read from the history, as far back as it goes.
"""

from typing import Final

from taskapi.db.connection import BSON
from taskapi.db.expressions import let, list_or_empty
from taskapi.tasks.schemas import Status
from taskapi.tasks.storage.marks import MAX_STATUS_CHANGES, NEXT_CHANGED_AT
from taskapi.tasks.storage.scope import PURGED

UNMARKED: Final[BSON] = {
    "state": {"$ne": PURGED},
    "$or": [{"changed_at": {"$not": {"$type": "date"}}}, {"status_changes": {"$not": {"$type": "array"}}}],
}
"""The filter of the tasks that lack a mark."""

_LAST_ENTRY: BSON = {"$arrayElemAt": [list_or_empty("$history.at"), -1]}
_LAST_WRITE: BSON = {"$cond": [{"$eq": [{"$type": _LAST_ENTRY}, "date"]}, _LAST_ENTRY, None]}
_LAST_STATUS: BSON = {"$arrayElemAt": [list_or_empty("$status_changes.status"), -1]}

OUTDATED: Final[BSON] = {
    "state": {"$ne": PURGED},
    "$expr": {"$or": [{"$gt": [_LAST_WRITE, "$changed_at"]}, {"$ne": [_LAST_STATUS, "$status"]}]},
}
"""The filter of the tasks that an earlier version has written since they were marked: a mark is not before its entry."""


def mark_from_history() -> list[BSON]:
    """The update pipeline that marks a task as changed now, and completes its status changes.

    An entry of the history holds the status before its write, if that changed it. A task that is done without such an entry
    counts as ``todo`` from its creation to its completion, as in ``marks.begin_status_changes``.
    """
    is_later = {"$gt": ["$$entry.at", {"$arrayElemAt": ["$$known.at", -1]}]}  # also if nothing is known yet
    has_status = {"$and": [{"$eq": [{"$type": "$$entry.before.status"}, "string"]}, {"$eq": [{"$type": "$$entry.at"}, "date"]}]}
    entries = {"$filter": {"input": list_or_empty("$history"), "as": "entry", "cond": {"$and": [has_status, is_later]}}}
    following = {"$slice": ["$$entries.before.status", 1, MAX_STATUS_CHANGES]}
    periods = {"$zip": {"inputs": [{"$concatArrays": [following, ["$status"]]}, "$$entries.at"]}}
    before = {"$cond": [{"$eq": ["$$known", []]}, _beginning(), "$$known"]}
    added = _following({"$arrayElemAt": ["$$this", 0]}, {"$arrayElemAt": ["$$this", 1]})
    told = {"$reduce": {"input": periods, "initialValue": before, "in": added}}
    # What no entry tells of was written by a script.
    complete = {
        "$cond": [
            {"$eq": [{"$arrayElemAt": ["$$value.status", -1]}, "$status"]},
            "$$value",
            _following("$status", "$updated_at"),
        ]
    }
    changes = let({"known": list_or_empty("$status_changes")}, let({"entries": entries}, let({"value": told}, complete)))
    newest = {"$slice": [changes, -MAX_STATUS_CHANGES]}
    return [{"$set": {"changed_at": {"$max": [NEXT_CHANGED_AT, _LAST_WRITE]}, "status_changes": newest}}]


def _beginning() -> BSON:
    """The first status changes of a task."""
    was_completed = {
        "$and": [
            {"$eq": ["$$entries", []]},
            {"$eq": ["$status", Status.done]},
            {"$eq": [{"$type": "$completed_at"}, "date"]},
            {"$gt": ["$completed_at", "$created_at"]},
        ]
    }
    completed = [{"status": Status.todo, "at": "$created_at"}, {"status": Status.done, "at": "$completed_at"}]
    first = {"$ifNull": [{"$arrayElemAt": ["$$entries.before.status", 0]}, "$status"]}
    return {"$cond": [was_completed, completed, [{"status": first, "at": "$created_at"}]]}


def _following(status: BSON | str, at: BSON | str) -> BSON:
    """The status changes ``value`` and one more, which is not earlier."""
    return {"$concatArrays": ["$$value", [{"status": status, "at": {"$max": [at, {"$arrayElemAt": ["$$value.at", -1]}]}}]]}
