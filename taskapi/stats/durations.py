"""How long tasks took: the pipeline that measures them, and its result."""

from collections.abc import Iterator, Mapping
from typing import Any

from taskapi.db.connection import BSON
from taskapi.db.expressions import MIN_TIME
from taskapi.stats.expressions import count_not_after, is_date
from taskapi.stats.schemas import DURATION_CLASSES, DURATION_LIMITS, PERCENTILES, DurationClass, DurationRow, Durations, LeadTimes

SECOND = 1000  # milliseconds


def between(start: Any, end: Any) -> BSON:
    """The milliseconds from one time to another; null if one is no time, or before the year 1."""
    are_times = {"$and": [is_date("$$start"), is_date(end), {"$gte": ["$$start", MIN_TIME]}]}  # no difference is too large
    took = {"$cond": [are_times, {"$subtract": [end, "$$start"]}, None]}
    return {"$let": {"vars": {"start": start}, "in": took}}


def stages(measures: Mapping[str, BSON]) -> list[BSON]:
    """The stages that measure tasks: by the name of each measure, the milliseconds that a task took. They return one document.

    A task for which a measure is null or less than 0 is left out of it.
    """
    facets: BSON = {}
    for name in measures:
        measured = [{"$match": {name: {"$gte": 0}}}, {"$project": {"took": f"${name}"}}]
        facets |= {_in_order(name): [*measured, *_IN_ORDER], _by_class(name): [*measured, *_BY_CLASS]}
    return [{"$project": {"_id": 0, **measures}}, {"$facet": facets}]


def read(found: BSON, measure: str) -> Durations:
    """One measure of the result of ``stages``."""
    counts = {each["_id"]: each["tasks"] for each in found[_by_class(measure)]}
    histogram = [
        DurationClass(from_seconds=low, to_seconds=high, tasks=counts.get(number, 0))
        for number, (low, high) in enumerate(DURATION_CLASSES)
    ]
    (measured,) = found[_in_order(measure)] or [{"tasks": 0}]
    tasks = measured["tasks"]
    times = {f"p{percent}_seconds": measured.get(str(percent)) for percent in PERCENTILES}
    times |= {"min_seconds": measured.get("min"), "max_seconds": measured.get("max")}
    times["mean_seconds"] = measured["sum"] // tasks if tasks else None
    whole = {name: None if time is None else time // SECOND for name, time in times.items()}
    return Durations(tasks=tasks, histogram=histogram, **whole)


def rows(found: LeadTimes) -> list[DurationRow]:
    """The rows of CSV: of each measure the number of tasks, the times, and the classes of the histogram by their least times."""
    return [
        DurationRow(measure=measure, statistic=statistic, seconds=seconds, tasks=tasks)
        for measure, times in found
        for statistic, seconds, tasks in _cells(times)
    ]


def _cells(found: Durations) -> Iterator[tuple[str, int | None, int | None]]:
    yield "tasks", None, found.tasks
    for name, seconds in found.model_dump(exclude={"tasks", "histogram"}).items():
        yield name.removesuffix("_seconds"), seconds, None
    for each in found.histogram:
        yield "from", each.from_seconds, each.tasks


def _in_order(measure: str) -> str:
    return f"{measure}_in_order"


def _by_class(measure: str) -> str:
    return f"{measure}_by_class"


def _rank(percent: int) -> BSON:
    """The place, in a list that ascends, of the least value that so many percent do not exceed: the nearest rank."""
    return {"$subtract": [{"$toInt": {"$ceil": {"$divide": [{"$multiply": [{"$size": "$took"}, percent]}, 100]}}}, 1]}


_LIMITS = [limit * SECOND for limit in DURATION_LIMITS]
_BY_CLASS: list[BSON] = [{"$group": {"_id": count_not_after("$took", _LIMITS), "tasks": {"$sum": 1}}}]
_IN_ORDER: list[BSON] = [
    {"$sort": {"took": 1}},
    {"$group": {"_id": None, "took": {"$push": "$took"}, "sum": {"$sum": "$took"}}},
    {
        "$project": {
            "_id": 0,
            "tasks": {"$size": "$took"},
            "sum": 1,
            "min": {"$first": "$took"},
            "max": {"$last": "$took"},
            **{str(percent): {"$arrayElemAt": ["$took", _rank(percent)]} for percent in PERCENTILES},
        }
    },
]
