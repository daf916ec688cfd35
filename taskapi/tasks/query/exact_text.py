"""Equality of texts in a query with a collation, in a form that an index without that collation can serve.

MongoDB compares texts by the query's collation, so only an index with the same collation can find them; with any other, it
reads all tasks of the owner, or tries one index after the other. A regular expression compares code points whatever the
collation, and one that is anchored at the start reads a range of an index.
"""

import re
from typing import Any

from bson import Regex

from taskapi.db.connection import BSON

MAX_LENGTH = 500  # characters; MongoDB limits what a pattern takes
MAX_TEXTS = 20  # in one list: each pattern is tried on each task
LOGICAL = frozenset({"$and", "$or"})
COLLATED = "title"  # has an index with the collation
STATE = "state"


def exact(condition: BSON) -> BSON:
    """Replaces the texts in ``condition`` with patterns that match by code point. Ranges and negations stay as they are.

    So does the state of a task, which follows the owner in the index with the collation. Its patterns are in ``counted``.
    """
    result: BSON = {}
    for name, operand in condition.items():
        if name in LOGICAL:
            result[name] = [exact(branch) for branch in operand]
        elif name.startswith("$") or name in (COLLATED, STATE):
            result[name] = operand
        elif isinstance(operand, dict):
            result[name] = _operators(operand)
        else:
            result[name] = _pattern(operand)
    return result


def counted(matching: BSON) -> BSON:
    """The filter ``matching`` of ``exact`` for a total that is counted in an index without the collation, and nothing else."""
    return {**matching, STATE: Regex(f"^{matching[STATE]}")}  # no state is the beginning of another


def _operators(operators: BSON) -> BSON:
    result: BSON = {}
    for name, operand in operators.items():
        if name == "$eq" and isinstance(pattern := _pattern(operand), Regex):
            result["$regex"] = pattern
        elif name in ("$in", "$all") and len(operand) <= MAX_TEXTS:
            result[name] = [_pattern(value) for value in operand]
        else:
            result[name] = operand
    return result


def _pattern(value: Any) -> Any:
    """A pattern that matches exactly this text. Other values, and texts that no pattern can hold, are returned as they are."""
    if not isinstance(value, str) or len(value) > MAX_LENGTH or "\x00" in value:
        return value
    return Regex(rf"^{re.escape(value)}\z")
