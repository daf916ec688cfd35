"""The pipelines that count.

All begin with *facts*: a day, a kind, a number ``n``, and for some kinds a ``key``, such as the name of a field. They are summed
up, and become one document for each day. Equal figures are equal byte by byte: fields and lists have a fixed order.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from bson import ObjectId

from taskapi.analytics.daily.documents import (
    COUNTED,
    CYCLE_HOURS,
    FIELDS,
    LEAD_HOURS,
    LISTED,
    MAX_HOURS,
    OPEN_PRIORITIES,
    TaskDayDocument,
)
from taskapi.db.connection import BSON
from taskapi.db.expressions import MAX_TIME, MIN_TIME, is_time
from taskapi.stats.expressions import IS_DONE, ONE, PRIORITY, STATUS
from taskapi.tasks.schemas import Status
from taskapi.tasks.storage.views.changes import TASK_CHANGES
from taskapi.tasks.storage.views.status_periods import STATUS_PERIODS
from taskapi.tasks.storage.views.tasks import TASKS

HOUR: Final = 3_600_000  # milliseconds
WITHIN: Final = {"$gte": MIN_TIME, "$lte": MAX_TIME}


def of_owners(owners: Sequence[ObjectId], refreshed_at: datetime) -> tuple[str, list[BSON]]:
    """The view to read, and the pipeline that returns the days of these owners."""
    (view, stages), *others = facts_of(owners)
    return view, [
        *stages,
        *({"$unionWith": {"coll": other, "pipeline": more}} for other, more in others),
        {"$set": {"day": {"$dateTrunc": {"date": "$at", "unit": "day"}}}},
        *_days(refreshed_at),
    ]


def facts_of(owners: Sequence[ObjectId]) -> list[tuple[str, list[BSON]]]:
    """The views to read, each with a pipeline that returns facts about the tasks of these owners."""
    theirs = {"$match": {"owner_id": {"$in": list(owners)}}}
    found = ((STATUS_PERIODS, _statuses()), (STATUS_PERIODS, _cycles()), (TASKS, _tasks()), (TASK_CHANGES, _changes()))
    return [(view.name, [theirs, *stages]) for view, stages in found]


def of_all(days: Sequence[datetime], refreshed_at: datetime) -> list[BSON]:
    """The pipeline that returns the sums of the stored figures of all owners on these days."""
    theirs = {"$match": {"day": {"$in": list(days)}, "owner_id": {"$ne": None}}}
    lists = (
        _sum_of_lists(LEAD_HOURS, "hours", ("tasks",)),
        _sum_of_lists(CYCLE_HOURS, "hours", ("tasks",)),
        _sum_of_lists(OPEN_PRIORITIES, "priority", ("tasks",)),
        _sum_of_lists(FIELDS, "field", ("changes", "tasks")),
    )
    none: BSON = {name: [] for name in LISTED}
    key = {"owner_id": None, "day": "$_id"}
    return [
        theirs,
        {"$group": {"_id": "$day", **{kind: {"$sum": f"${kind}"} for kind in COUNTED}}},
        {"$project": {"_id": 0, "day": "$_id", **dict.fromkeys(COUNTED, 1)}},
        *({"$unionWith": {"coll": TaskDayDocument.Settings.name, "pipeline": [theirs, *stages]}} for stages in lists),
        {"$group": {"_id": "$day", "sums": {"$mergeObjects": "$$ROOT"}}},
        {"$replaceWith": {"$mergeObjects": [none, "$sums", {"_id": key, **key, "refreshed_at": refreshed_at}]}},
    ]


def _sum_of_lists(name: str, key: str, summed: Sequence[str]) -> list[BSON]:
    """Of each day the list, in which entries with the same ``key`` have become one."""
    entry = {key: "$_id.key", **{each: f"${each}" for each in summed}}
    return [
        {"$unwind": f"${name}"},
        {"$group": {"_id": {"day": "$day", "key": f"${name}.{key}"}, **{each: {"$sum": f"${name}.{each}"} for each in summed}}},
        {"$group": {"_id": "$_id.day", name: {"$push": entry}}},
        {"$project": {"_id": 0, "day": "$_id", name: 1}},
    ]


def _statuses() -> list[BSON]:
    """A status has a task more from the beginning of a period on, and a task less from its end on."""
    facts = [
        {"at": "$from", "kind": STATUS, "n": 1},
        {"at": "$from", "kind": "status_changes", "n": 1},
        {"at": "$until", "kind": STATUS, "n": -1},
    ]
    return [{"$match": {"from": WITHIN}}, *_unwound(facts)]


def _cycles() -> list[BSON]:
    """How long each task took from the first time in progress until it was last done."""
    is_begun = {"$eq": ["$status", Status.in_progress.value]}
    is_done = {"$and": [{"$eq": ["$status", Status.done.value]}, {"$eq": ["$until", None]}]}
    of_task = {
        "_id": "$task_id",
        "owner_id": {"$first": "$owner_id"},
        "begun": {"$min": {"$cond": [is_begun, "$from", None]}},
        "at": {"$max": {"$cond": [is_done, "$from", None]}},
    }
    fact = {"_id": 0, "owner_id": 1, "at": 1, "kind": CYCLE_HOURS, "key": _hours("$begun", "$at"), "n": ONE}
    return [{"$group": of_task}, {"$match": {"begun": WITHIN, "at": WITHIN}}, {"$project": fact}]


def _tasks() -> list[BSON]:
    """When tasks were created and completed, and how long that took; of those that are open, also the due date."""
    lead = _hours("$created_at", "$completed_at")
    since = {"$cond": [IS_DONE, None, "$created_at"]}
    return _unwound(
        [
            {"at": "$created_at", "kind": "created", "n": 1},
            {"at": "$completed_at", "kind": "completed", "n": 1},
            {"at": {"$cond": [{"$gte": [lead, 0]}, "$completed_at", None]}, "kind": LEAD_HOURS, "key": lead, "n": 1},
            {"at": since, "kind": "open", "n": 1},
            {"at": since, "kind": OPEN_PRIORITIES, "key": PRIORITY, "n": 1},
            {"at": {"$cond": [IS_DONE, None, "$due_date"]}, "kind": "open_due", "n": 1},
        ]
    )


def _changes() -> list[BSON]:
    """The changes of each field of a task on each day, and on which day the first one was."""
    day = {"$dateTrunc": {"date": "$at", "unit": "day"}}
    of_day = {
        "_id": {"task": "$task_id", "field": "$field", "day": day},
        "owner_id": {"$first": "$owner_id"},
        "n": {"$sum": 1},
    }
    of_task = {
        "_id": {"task": "$_id.task", "field": "$_id.field"},
        "owner_id": {"$first": "$owner_id"},
        "first": {"$min": "$_id.day"},
        "days": {"$push": {"at": "$_id.day", "n": "$n"}},
    }
    is_first = {"$cond": [{"$eq": ["$days.at", "$first"]}, 1, 0]}
    fact = {"_id": 0, "owner_id": 1, "at": "$days.at", "kind": FIELDS, "key": "$_id.field", "n": "$days.n", "tasks": is_first}
    return [
        {"$match": {"field": {"$ne": None}}},
        {"$group": of_day},
        {"$group": of_task},
        {"$unwind": "$days"},
        {"$project": fact},
    ]


def _unwound(facts: Sequence[BSON]) -> list[BSON]:
    """The facts of each row, without those that are of no time."""
    return [
        {"$project": {"_id": 0, "owner_id": 1, "fact": list(facts)}},
        {"$unwind": "$fact"},
        {"$match": {"fact.at": WITHIN}},
        {"$replaceWith": {"$mergeObjects": ["$fact", {"owner_id": "$owner_id"}]}},
    ]


def _hours(start: str, end: str) -> BSON:
    """The whole hours between two times, at most ``MAX_HOURS``; null if one of them is no time."""
    hours = {"$floor": {"$divide": [{"$subtract": [end, start]}, HOUR]}}
    return {"$cond": [{"$and": [is_time(start), is_time(end)]}, {"$toInt": {"$max": [-1, {"$min": [hours, MAX_HOURS]}]}}, None]}


def _days(refreshed_at: datetime) -> list[BSON]:
    """Sums up facts: returns a document for each day."""

    def count(kind: str) -> BSON:
        return {"$sum": {"$cond": [{"$eq": ["$_id.kind", kind]}, "$n", 0]}}

    def list_of(kind: str, entry: BSON) -> BSON:
        return {"$push": {"$cond": [{"$eq": ["$_id.kind", kind]}, entry, "$$REMOVE"]}}

    hours = {"hours": "$_id.key", "tasks": "$n"}
    key = {"owner_id": "$owner_id", "day": "$day", "kind": "$kind", "key": "$key"}
    month = {"owner_id": "$owner_id", "month": {"$dateTrunc": {"date": "$day", "unit": "month"}}}
    earlier = {"$sum": "$status_changes", "window": {"documents": ["unbounded", -1]}}
    is_first = {"$and": [{"$gt": ["$status_changes", 0]}, {"$eq": ["$earlier", 0]}]}
    return [
        {"$group": {"_id": key, "n": {"$sum": "$n"}, "tasks": {"$sum": "$tasks"}}},
        {"$sort": {"_id.key": 1}},
        {
            "$group": {
                "_id": {"owner_id": "$_id.owner_id", "day": "$_id.day"},
                **{kind: count(kind) for kind in COUNTED},
                LEAD_HOURS: list_of(LEAD_HOURS, hours),
                CYCLE_HOURS: list_of(CYCLE_HOURS, hours),
                OPEN_PRIORITIES: list_of(OPEN_PRIORITIES, {"priority": "$_id.key", "tasks": "$n"}),
                FIELDS: list_of(FIELDS, {"field": "$_id.key", "changes": "$n", "tasks": "$tasks"}),
            }
        },
        {"$set": {"owner_id": "$_id.owner_id", "day": "$_id.day", "refreshed_at": refreshed_at}},
        {"$setWindowFields": {"partitionBy": month, "sortBy": {"day": 1}, "output": {"earlier": earlier}}},
        {"$set": {"monthly_active": {"$cond": [is_first, 1, 0]}}},
        {"$unset": "earlier"},
    ]
