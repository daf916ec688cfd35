"""The pipelines that find an owner's tasks that have changed, and those that a first run reads, in pages.

Each result says what has happened to a task, and has the whole task as ``task`` unless it is in the trash or purged.
"""

from typing import Any, NamedTuple

from bson import ObjectId
from bson.datetime_ms import DatetimeMS
from pymongo import ASCENDING

from taskapi.db.connection import BSON
from taskapi.db.expressions import NO_LIST, is_time, list_or_empty
from taskapi.tasks.query.places import TYPES
from taskapi.tasks.query.sort import NEWEST, Order
from taskapi.tasks.query.stages import ordered_stages
from taskapi.tasks.storage.history import Action
from taskapi.tasks.storage.reading import WITHOUT_INTERNAL
from taskapi.tasks.storage.scope import ACTIVE, IN_TRASH, PURGED, Scope

OTHER_TYPES = sorted({name for names in TYPES for name in names} - {"date", "array", "null", "undefined"})
OLDEST_CHANGE: Order = {"changed_at": ASCENDING, "_id": ASCENDING}
BY_ID: Order = {"_id": ASCENDING}
IS_TIME: BSON = {"$type": "date", **NO_LIST}
NO_TIME: BSON = {"$or": [{"created_at": None}, {"created_at": {"$type": [*OTHER_TYPES], **NO_LIST}}]}
_TASK: BSON = {f"task.{name}": shown for name, shown in WITHOUT_INTERNAL.items()}
_OF_TASK: BSON = {"state": 1, "changed_at": 1, "created_at": 1, "version": 1}


class Place(NamedTuple):
    """The last task of a page: the time by which the tasks are sorted, in milliseconds, and its id."""

    ms: int | None  # None among the tasks whose time of creation is none, which come last in a first run
    task_id: ObjectId


def dated_stages(scope: Scope, after: Place | None, most: int) -> list[BSON]:
    """The active tasks that a first run reads, newest first: no write changes their order."""
    matching = {**scope.outside_trash, "created_at": IS_TIME, "_id": {"$type": "objectId"}}
    return _stages(matching, NEWEST, after and [_time(after.ms), after.task_id], most, {})


def undated_stages(scope: Scope, after: Place | None, most: int) -> list[BSON]:
    """The few active tasks that a first run reads last: a script has stored something else as their time of creation."""
    matching = {**scope.outside_trash, **NO_TIME, "_id": {"$type": "objectId"}}
    return _stages(matching, BY_ID, after and [after.task_id], most, {})


def changed_stages(scope: Scope, low: int, after: Place | None, most: int) -> list[BSON]:
    """The tasks in every state that have changed from ``low`` on, in ms since 1970; oldest change first."""
    matching = {**scope.anywhere, "_id": {"$type": "objectId"}}
    happened = _what_happened(_time(low))
    if after is None:
        return _stages({**matching, "changed_at": {"$gte": _time(low)}}, OLDEST_CHANGE, None, most, happened)
    return _stages(matching, OLDEST_CHANGE, [_time(after.ms), after.task_id], most, happened)


def _time(ms: int | None) -> DatetimeMS:
    return DatetimeMS(int(ms or 0))  # not the driver's Int64, which a time cannot hold


def _stages(matching: BSON, order: Order, after: list[Any] | None, most: int, computed: BSON) -> list[BSON]:
    task = {"$cond": [{"$eq": ["$state", ACTIVE]}, "$$ROOT", "$$REMOVE"]}
    return [*ordered_stages(matching, order, {**_OF_TASK, **computed, "task": task}, after, most=most), {"$project": _TASK}]


def _what_happened(low: DatetimeMS) -> BSON:
    """The ``kind`` of change, and the names of the fields that were ``changed``, as far as the history goes back."""
    recent = {"$filter": {"input": list_or_empty("$history"), "as": "entry", "cond": {"$gte": ["$$entry.at", low]}}}
    is_young = {"$and": [is_time("$created_at"), {"$gte": ["$created_at", low]}]}
    is_new = {"$or": [is_young, {"$in": [Action.create, _actions(recent)]}]}  # an import may say when it was created
    kind = {
        "$switch": {
            "branches": [
                {"case": {"$eq": ["$state", PURGED]}, "then": "purged"},
                {"case": {"$eq": ["$state", IN_TRASH]}, "then": "deleted"},
                {"case": is_new, "then": "created"},
                {"case": {"$eq": [{"$last": _actions(recent)}, Action.restore]}, "then": "restored"},
            ],
            "default": "updated",
        }
    }
    before = {"$cond": [{"$eq": [{"$type": "$$this.before"}, "object"]}, "$$this.before", {}]}
    names = {"$map": {"input": {"$objectToArray": before}, "as": "field", "in": "$$field.k"}}
    changed = {"$reduce": {"input": recent, "initialValue": [], "in": {"$setUnion": ["$$value", names]}}}
    return {"kind": kind, "changed": changed}


def _actions(entries: BSON) -> BSON:
    return {"$map": {"input": entries, "as": "entry", "in": "$$entry.action"}}
