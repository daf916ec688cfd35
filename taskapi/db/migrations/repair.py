"""Repairs of invalid documents: only what has one right answer, each in one atomic write. No value is guessed."""

from dataclasses import dataclass

from taskapi.db.connection import BSON
from taskapi.db.expressions import NO_LIST
from taskapi.db.migrations.backfill import Backfill


@dataclass(frozen=True, slots=True)
class Repair:
    """What repairs invalid documents whose damage has one right answer. It may run at any time, and again."""

    name: str
    description: str  # one sentence
    work: Backfill


def number(name: str, types: list[str], low: int, high: int) -> BSON:
    """The condition that a field is a number of one of these types, within these bounds."""
    return {name: {"$type": types, "$gte": low, "$lte": high, **NO_LIST}}


def whole_number(name: str, types: list[str], low: int, high: int) -> BSON:
    """The same, for whole numbers only."""
    is_whole = {"$cond": [{"$isNumber": f"${name}"}, {"$eq": [f"${name}", {"$trunc": [f"${name}"]}]}, False]}
    return {**number(name, types, low, high), "$expr": is_whole}
