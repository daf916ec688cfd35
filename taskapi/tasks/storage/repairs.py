"""How ``taskapi migrate verify --fix`` repairs invalid tasks: see ``db.migrations.repair``."""

from collections.abc import Mapping
from typing import Any, Final

from taskapi.db.connection import BSON
from taskapi.db.expressions import NO_LIST, list_or_empty
from taskapi.db.integers import INT32_MAX
from taskapi.db.migrations.backfill import Backfill
from taskapi.db.migrations.repair import Repair, number, whole_number
from taskapi.tasks.fields import DAYS
from taskapi.tasks.schemas import Status
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.history import NEXT_VERSION
from taskapi.tasks.storage.marks import NEXT_CHANGED_AT
from taskapi.tasks.storage.scope import PURGED

INTEGERS: Final = ("priority", "estimate_minutes")
OPEN: Final = [status.value for status in Status if status is not Status.done]


def _repair(name: str, description: str, matching: BSON, values: Mapping[str, Any]) -> Repair:
    """A repair of the tasks that match: it counts as a write for those who load what has changed, and for ``If-Match``."""
    update: list[BSON] = [{"$set": {**values, "version": NEXT_VERSION, "changed_at": NEXT_CHANGED_AT}}]
    return Repair(name, description, Backfill(TaskDocument, {"$and": [{"state": {"$ne": PURGED}}, matching]}, update))


def _has_twins(name: str) -> BSON:
    found = list_or_empty(f"${name}")
    return {"$expr": {"$ne": [{"$size": found}, {"$size": {"$setUnion": [found, []]}}]}}


def _has_time(name: str) -> BSON:
    day = {"$dateTrunc": {"date": f"${name}", "unit": "day"}}
    return {"$expr": {"$cond": [{"$eq": [{"$type": f"${name}"}, "date"]}, {"$ne": [f"${name}", day]}, False]}}


def _distinct(name: str) -> BSON:
    added = {"$cond": [{"$in": ["$$this", "$$value"]}, "$$value", {"$concatArrays": ["$$value", ["$$this"]]}]}
    return {"$reduce": {"input": f"${name}", "initialValue": [], "in": added}}


REPAIRS: Final = (
    _repair(
        "open_tasks",
        "Tasks that are not done: completed is false, and completed_at is null.",
        {
            "status": {"$in": OPEN, **NO_LIST},
            "$or": [{"completed": {"$ne": False}}, {"completed_at": {"$ne": None}}, {"completed_at": {"$exists": False}}],
        },
        {"completed": False, "completed_at": None},
    ),
    _repair(
        "done_tasks",
        "Tasks that are done, and have the time: completed is true.",
        {
            "status": {"$eq": Status.done.value, **NO_LIST},
            "completed": {"$ne": True},
            "completed_at": {"$type": "date", **NO_LIST},
        },
        {"completed": True},
    ),
    *(
        _repair(
            f"{name}_integer",
            f"Whole numbers of another type in {name}: store them as int.",
            whole_number(name, ["double", "long", "decimal"], 0, INT32_MAX),
            {name: {"$toInt": f"${name}"}},
        )
        for name in INTEGERS
    ),
    _repair(
        "progress_double",
        "Numbers of another type in progress: store them as double.",
        number("progress", ["int", "long", "decimal"], 0, 1),
        {"progress": {"$toDouble": "$progress"}},
    ),
    *(
        _repair(f"{name}_distinct", f"Values that {name} has twice: keep the first.", _has_twins(name), {name: _distinct(name)})
        for name in ("tags", "links")
    ),
    *(
        _repair(
            f"{name}_midnight",
            f"Times in {name}: store midnight UTC of that day, which the API shows.",
            _has_time(name),
            {name: {"$dateTrunc": {"date": f"${name}", "unit": "day"}}},
        )
        for name in sorted(DAYS)
    ),
)
