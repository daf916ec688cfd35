"""Expressions of MongoDB that also hold for the values that a script may have stored: they never fail."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from taskapi.db.connection import BSON
from taskapi.tasks.schemas import MAX_ESTIMATE_MINUTES, Status

NO_DATE = -1
IS_DONE: BSON = {"$eq": ["$status", Status.done]}
# As the task is shown: a value that is no status is read as the first one.
STATUS: BSON = {"$cond": [{"$in": ["$status", list(Status)]}, "$status", Status.todo]}
HAS_ESTIMATE: BSON = {
    "$and": [
        {"$isNumber": "$estimate_minutes"},
        {"$gte": ["$estimate_minutes", 0]},
        {"$lte": ["$estimate_minutes", MAX_ESTIMATE_MINUTES]},
    ]
}
ESTIMATE: BSON = {"$cond": [HAS_ESTIMATE, {"$toLong": "$estimate_minutes"}, 0]}
# A script may have stored 3.0: that is 3. Other values have no place on the scale.
PRIORITY: BSON = {
    "$let": {
        "vars": {"whole": {"$convert": {"input": "$priority", "to": "int", "onError": None, "onNull": None}}},
        "in": {"$cond": [{"$and": [{"$isNumber": "$priority"}, {"$eq": ["$$whole", "$priority"]}]}, "$$whole", None]},
    }
}
ONE: BSON = {"$literal": 1}


def count_not_after(value: Any, limits: Sequence[Any], factor: int = 1) -> Any:
    """How many of ``limits``, which ascend, are not greater than ``value``, times ``factor``.

    A binary search: for 400 limits and 200,000 tasks it takes 0.1 seconds, a ``$switch`` 8 seconds.
    """

    def search(low: int, high: int) -> Any:
        if low == high:
            return low * factor
        middle = (low + high + 1) // 2
        return {"$cond": [{"$lt": [value, limits[middle - 1]]}, search(low, middle - 1), search(middle, high)]}

    return search(0, len(limits))


def number_of(time: Any, limits: Sequence[datetime]) -> BSON:
    """How many of ``limits`` are not after ``time``; NO_DATE if it is no time."""
    number = {"$cond": [is_date("$$time"), count_not_after("$$time", limits), NO_DATE]}
    return {"$let": {"vars": {"time": time}, "in": number}}  # computed once, not for each comparison


def is_date(value: Any) -> BSON:
    """Whether a value is a time."""
    return {"$eq": [{"$type": value}, "date"]}
