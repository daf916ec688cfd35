"""Reads stored values as the types of an extract's columns.

A value of another type, which a script may have stored, becomes null: it neither fails an extract nor changes the type of a
column.
"""

from datetime import date, datetime
from math import isfinite
from typing import Any

from bson import ObjectId

from taskapi.db.integers import INT64_MAX


def text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def reference(value: Any) -> str | None:
    """The id of another document."""
    return str(value) if isinstance(value, ObjectId) else None


def integer(value: Any) -> int | None:
    """An integer, also one that is stored as a double."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= INT64_MAX:
        return int(value)
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else None


def number(value: Any) -> float | None:
    if isinstance(value, float):
        return value if isfinite(value) else None
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else None


def flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def moment(value: Any) -> datetime | None:
    return value if isinstance(value, datetime) else None


def day(value: Any) -> date | None:
    return value.date() if isinstance(value, datetime) else None


def texts(value: Any) -> list[str] | None:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else None


def members(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; none in anything else."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def member(value: Any, name: str) -> Any:
    """A member of an object; None of anything else."""
    return value.get(name) if isinstance(value, dict) else None
