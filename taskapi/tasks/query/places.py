"""Conditions for what follows a cursor in MongoDB's sort order, in which every BSON type has its rank.

Only a script can have stored a sort field as another type. MongoDB's comparison operators look at one type only, so a page
after such a value would end early or start over; the conditions here compare the types as well. A list sorts by one of its
members: every page but the first leaves lists out.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from bson import Code, DBRef, Decimal128, MaxKey, MinKey, ObjectId, Timestamp
from bson.datetime_ms import DatetimeMS
from pymongo import DESCENDING

from taskapi.db.connection import BSON
from taskapi.db.expressions import NO_LIST
from taskapi.tasks.definitions import Kind
from taskapi.tasks.fields import FIELDS, SORTABLE

# The types in their sort order (MongoDB manual, "Comparison/Sort Order").
TYPES: Sequence[Sequence[str]] = (
    ["minKey"],
    ["null", "undefined"],
    ["number"],
    ["string", "symbol"],
    ["object"],
    ["array"],
    ["binData"],
    ["objectId"],
    ["bool"],
    ["date"],
    ["timestamp"],
    ["regex", "dbPointer", "javascript", "javascriptWithScope"],
    ["maxKey"],
)
ARRAY, OTHERS = 5, 11
NAN = float("nan")
COMPARED: Mapping[type, int] = {
    MinKey: 0, type(None): 1, int: 2, float: 2, Decimal128: 2, str: 3, ObjectId: 7, bool: 8, datetime: 9, DatetimeMS: 9,
    Timestamp: 10, MaxKey: 12,
}  # fmt: skip
PLAIN = {type(None), int, datetime, ObjectId}  # the types of nearly all sort values
TIME = 9
RANKS = {Kind.text: 3, Kind.integer: 2, Kind.day: TIME, Kind.moment: TIME}
SOUND = {"relevance": 2, "_id": 7} | {name: RANKS[FIELDS[name].kind] for name in SORTABLE}
MAX_TEXT = 200  # characters: no valid title is longer
LAST_CHARACTER = "\U0010ffff"


def place(order: Mapping[str, int], task: BSON) -> list[Any]:
    """The sort values of a stored task, short enough for a cursor. A value that cannot be compared becomes ``{"type": rank}``."""
    return [_compare(task.get(name), direction) for name, direction in order.items()]


def _compare(value: Any, direction: int) -> Any:
    if type(value) in PLAIN:
        return value
    if isinstance(value, list):  # it sorts by its first member in this direction; before null if it is empty
        if not value:
            return MinKey()
        members = [_compare(member, direction) for member in value]
        return (max if direction == DESCENDING else min)(members, key=_rank)
    if isinstance(value, str) and not isinstance(value, Code) and len(value) > MAX_TEXT:
        return value[:MAX_TEXT] + ("\x00" if direction == DESCENDING else LAST_CHARACTER)
    if isinstance(value, Decimal128) and value.to_decimal().is_nan():
        return NAN
    rank = _rank(value)
    return value if rank in COMPARED.values() else {"type": rank}


def _rank(value: Any) -> int:
    if isinstance(value, dict):
        return int(value.get("type", 4)) if value.keys() == {"type"} and type(value["type"]) is int else 4
    if isinstance(value, DBRef):  # an object to MongoDB
        return 4
    if isinstance(value, bool):  # to Python, bool is an int and Code a str
        return COMPARED[bool]
    if isinstance(value, Code):
        return OTHERS
    if isinstance(value, list | bytes):
        return ARRAY if isinstance(value, list) else 6
    return next((rank for kind, rank in COMPARED.items() if isinstance(value, kind)), OTHERS)


def equal_to(name: str, value: Any) -> BSON:
    """The condition that the field ``name`` equals ``value``, one of the sort values from ``place``."""
    return {name: {"$eq": value, **NO_LIST}}


def beyond(name: str, value: Any, direction: int) -> list[BSON]:
    """The conditions, all of which must hold, that the field ``name`` sorts after ``value``, one of those from ``place``."""
    rank = _rank(value)
    is_ordered = not isinstance(value, dict) and value == value  # NaN sorts before all numbers and compares with none
    if direction == DESCENDING:
        passed = [*_types(rank + is_ordered), *TYPES[ARRAY]]
        smaller: list[BSON] = [{name: {"$not": {"$gte": value}}}] if is_ordered else []  # null and missing as well
        return [*smaller, {name: {"$not": {"$type": passed}}}]
    if value is None:
        return [{name: {"$ne": None, "$not": {"$type": ["minKey", "array"]}}}]
    if rank == SOUND.get(name, TIME) and is_ordered:
        return [{name: {"$gt": value, **NO_LIST}}]
    later = _types(rank + isinstance(value, dict))
    greater: list[BSON] = [] if isinstance(value, dict) else [{name: {"$not": {"$lte": value}, "$ne": NAN}}]
    return [*greater, {name: {"$type": later, **NO_LIST}}]


def _types(first: int) -> list[str]:
    return [name for types in TYPES[first:] for name in types]
