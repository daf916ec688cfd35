"""Expressions that never fail, whatever a script has stored: a wrong value becomes null, or an empty list."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

BSON = dict[str, Any]

NO_LIST: Final[BSON] = {"$not": {"$type": "array"}}
"""The condition that a field holds no list.

Other conditions also hold for a list with a member that meets them. A dotted path matches inside the members, but cannot set a
field there.
"""

DAY_MS: Final = 86_400_000
MIN_TIME: Final = datetime.min.replace(tzinfo=UTC)
MAX_TIME: Final = datetime(9999, 12, 31, 23, 59, 59, 999000, UTC)


def literals(values: Mapping[str, Any]) -> BSON:
    """Values as expressions: without ``$literal``, a text that starts with a dollar sign would be read as a field path."""
    return {name: {"$literal": value} for name, value in values.items()}


def let(variables: BSON, expression: Any) -> BSON:
    """An expression, with the variables that it uses."""
    return {"$let": {"vars": variables, "in": expression}}


def is_time(value: Any) -> BSON:
    """Whether a value is a time that programs can represent. Values of other types sort before or after all times."""
    return {"$and": [{"$gte": [value, MIN_TIME]}, {"$lte": [value, MAX_TIME]}]}


def time_or_null(value: Any) -> BSON:
    """A time, or null if there is none."""
    return {"$cond": [is_time(value), value, None]}


def days_between(start: Any, end: Any) -> BSON:
    """The days from one time to another, as a double; null if one of them is no time."""
    days = {"$divide": [{"$subtract": [end, start]}, DAY_MS]}
    return {"$cond": [{"$and": [is_time(start), is_time(end)]}, days, None]}


def list_or_empty(value: Any) -> BSON:
    """A list, or an empty one if there is none."""
    return {"$cond": [{"$isArray": value}, value, []]}


def integer_or_one(value: Any) -> BSON:
    """A whole number, or 1 if there is none: what ``damaged.integer`` shows."""
    converted = {"$convert": {"input": value, "to": "int", "onError": 1}}
    return {"$cond": [{"$in": [{"$type": value}, ["int", "long"]]}, value, {"$cond": [{"$isNumber": value}, converted, 1]}]}


def or_null(value: Any) -> BSON:
    """A value, or null if it is missing."""
    return {"$ifNull": [value, None]}
