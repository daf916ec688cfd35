"""How long tasks took: the pipeline that measures them, and its result."""

from datetime import UTC, datetime
from typing import Any

from taskapi.db.connection import BSON
from taskapi.stats.expressions import count_not_after, is_date
from taskapi.stats.schemas import DURATION_LIMITS, PERCENTILES, DurationClass, DurationRow, Durations

MIN_TIME = datetime.min.replace(tzinfo=UTC)
SECOND = 1000  # milliseconds
_LIMITS = [limit * SECOND for limit in DURATION_LIMITS]


def between(start: Any, end: Any) -> BSON:
    """The milliseconds from one time to another; null if one is no time, or before the year 1."""
    are_times = {"$and": [is_date(start), is_date(end), {"$gte": [start, MIN_TIME]}]}  # no difference is too large for MongoDB
    return {"$cond": [are_times, {"$subtract": [end, start]}, None]}


def stages(took: BSON) -> list[BSON]:
    """The stages that measure tasks, each of which took the milliseconds ``took``. They return one document.

    Tasks for which it is null or less than 0 are left out.
    """
    rank = {str(percent): {"$arrayElemAt": ["$took", _rank(percent)]} for percent in PERCENTILES}
    in_order = [
        {"$sort": {"took": 1}},
        {"$group": {"_id": None, "took": {"$push": "$took"}, "sum": {"$sum": "$took"}}},
        {
            "$project": {
                "_id": 0,
                "tasks": {"$size": "$took"},
                "sum": 1,
                "min": {"$first": "$took"},
                "max": {"$last": "$took"},
                **rank,
            }
        },
    ]
    by_class = [{"$group": {"_id": count_not_after("$took", _LIMITS), "tasks": {"$sum": 1}}}]
    return [
        {"$project": {"_id": 0, "took": took}},
        {"$match": {"took": {"$gte": 0}}},
        {"$facet": {"in_order": in_order, "by_class": by_class}},
    ]


def read(found: BSON) -> Durations:
    """The result of ``stages``."""
    counts = {each["_id"]: each["tasks"] for each in found["by_class"]}
    histogram = [
        DurationClass(from_seconds=low, to_seconds=high, tasks=counts.get(number, 0))
        for number, (low, high) in enumerate(zip((0, *DURATION_LIMITS), (*DURATION_LIMITS, None), strict=True))
    ]
    (measured,) = found["in_order"] or [{"tasks": 0}]
    tasks = measured["tasks"]
    times = {f"p{percent}_seconds": measured.get(str(percent)) for percent in PERCENTILES}
    times |= {"min_seconds": measured.get("min"), "max_seconds": measured.get("max")}
    times["mean_seconds"] = measured["sum"] // tasks if tasks else None
    whole = {name: None if time is None else time // SECOND for name, time in times.items()}
    return Durations(tasks=tasks, histogram=histogram, **whole)


def rows(measure: str, found: Durations) -> list[DurationRow]:
    """The rows of CSV: the number of tasks, the times, and the classes of the histogram, each with the least time in it."""
    times = found.model_dump(exclude={"tasks", "histogram"})
    named = [("tasks", None, found.tasks), *((name.removesuffix("_seconds"), seconds, None) for name, seconds in times.items())]
    classes = [("from", each.from_seconds, each.tasks) for each in found.histogram]
    return [
        DurationRow(measure=measure, statistic=name, seconds=seconds, tasks=tasks) for name, seconds, tasks in (*named, *classes)
    ]


def _rank(percent: int) -> BSON:
    """The place, in a list that ascends, of the least value that so many percent do not exceed: the nearest rank."""
    return {"$subtract": [{"$toInt": {"$ceil": {"$divide": [{"$multiply": [{"$size": "$took"}, percent]}, 100]}}}, 1]}
