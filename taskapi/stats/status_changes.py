"""Reads the status changes of tasks: how many tasks had each status at the end of each period, and when work on one began.

A task has a status from one entry of ``status_changes`` to the next, but none before ``created_at``, which an import may set.
Before its first entry, it counts with the status of that entry.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from taskapi.db.connection import BSON
from taskapi.db.integers import INT32_MAX
from taskapi.stats.expressions import count_not_after
from taskapi.tasks.schemas import Status
from taskapi.tasks.storage.marks import UNRECORDED_STATUS_CHANGES

_STATUSES: Final = tuple(Status)  # each is stored by its place here; the first stands for what is no status
_NONE: Final = len(_STATUSES)  # in place of the status before the first
_CODES: Final = _NONE + 1
_CODE: Final[BSON] = {"$max": [{"$indexOfArray": [list(_STATUSES), "$$this.status"]}, 0]}
_IS_RECORDED: Final[BSON] = {"$and": [{"$isArray": "$status_changes"}, {"$ne": ["$status_changes", []]}]}
_BEGINS_AT_CREATION: Final[BSON] = {
    "$and": [{"$isArray": "$status_changes"}, {"$eq": ["$created_at", {"$first": "$status_changes.at"}]}]
}
_FROM_CREATION: Final[BSON] = {
    "$let": {
        "vars": {"first": {"$first": "$status_changes"}},
        "in": {"$concatArrays": [[{"status": "$$first.status"}], {"$slice": ["$status_changes", 1, INT32_MAX]}]},
    }
}
_BEGUN: Final[BSON] = {
    "$first": {"$filter": {"input": "$status_changes", "cond": {"$eq": ["$$this.status", Status.in_progress]}}},
}
BEGUN_AT: Final[BSON] = {"$cond": [_IS_RECORDED, {"$let": {"vars": {"begun": _BEGUN}, "in": "$$begun.at"}}, None]}
"""When a task was first in progress; null or missing if it never was."""


def stages(limits: Sequence[datetime]) -> list[BSON]:
    """The stages that count, for each number of ``limits`` that had passed, how many tasks went from one status to another.

    Each task becomes a list of small numbers, and equal lists are counted first: MongoDB handles both faster than documents.
    """
    number = count_not_after("$$this.at", limits, _CODES)
    # Many tasks did not change within the periods: of these, only the last status matters.
    is_old = {"$lt": [{"$last": "$status_changes.at"}, limits[0]]}
    recent: BSON = {"$cond": [is_old, [{"$last": "$status_changes"}], "$status_changes"]}
    steps = {"$map": {"input": recent, "in": {"$add": [number, _CODE]}}}
    others = {"$cond": [_IS_RECORDED, _FROM_CREATION, UNRECORDED_STATUS_CHANGES]}
    later: BSON = {"$map": {"input": others, "in": {"$add": [{"$max": [number, "$$created"]}, _CODE]}}}
    later = {"$let": {"vars": {"created": count_not_after("$created_at", limits, _CODES)}, "in": later}}
    before = {"$concatArrays": [[_NONE], "$_id"]}
    pair = {"$add": [{"$multiply": [{"$first": "$pairs"}, _CODES]}, {"$mod": [{"$last": "$pairs"}, _CODES]}]}
    return [
        {"$project": {"_id": 0, "steps": {"$cond": [_BEGINS_AT_CREATION, steps, later]}}},
        {"$group": {"_id": "$steps", "tasks": {"$sum": 1}}},
        {"$project": {"tasks": 1, "pairs": {"$zip": {"inputs": ["$_id", before]}}}},
        {"$unwind": "$pairs"},
        {"$group": {"_id": pair, "tasks": {"$sum": "$tasks"}}},
    ]


def read(found: Iterable[BSON], periods: int) -> Iterator[Mapping[Status, int]]:
    """How many tasks had each status at the end of each period, from the result of ``stages``."""
    changes = [Counter[int]() for _ in range(periods + 2)]  # before the first period, in each of them, and after the last
    for each in found:
        step, before = divmod(each["_id"], _CODES)
        number, after = divmod(step, _CODES)
        changes[number][after] += each["tasks"]
        changes[number][before] -= each["tasks"]
    sums = changes[0]
    for change in changes[1:-1]:
        sums = Counter({code: sums[code] + change[code] for code in range(_NONE)})
        yield {status: sums[code] for code, status in enumerate(_STATUSES)}
