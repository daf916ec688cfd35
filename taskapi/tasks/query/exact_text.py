"""Equality of texts in a query with a collation, such that an index without that collation can serve it.

MongoDB compares texts by the collation of the query, and only an index with the same collation can then find them: of all
others it reads every task of the owner, or tries them one after the other. A regular expression compares code points
whatever the collation is, and one for the beginning of a text is a range of an index.
"""

import re
from typing import Any

from bson import Regex

from taskapi.db.connection import BSON

MAX_LENGTH = 500  # characters; MongoDB limits what a pattern takes
MAX_TEXTS = 20  # in one list: each is tried with each task
LOGICAL = frozenset({"$and", "$or"})
COLLATED = "title"  # has an index with the collation


def exact(condition: BSON) -> BSON:
    """``condition``, which asks for the same texts by patterns of their code points. Ranges and denials stay."""
    result: BSON = {}
    for name, operand in condition.items():
        if name in LOGICAL:
            result[name] = [exact(branch) for branch in operand]
        elif name.startswith("$") or name == COLLATED:
            result[name] = operand
        elif isinstance(operand, dict):
            result[name] = _operators(operand)
        else:
            result[name] = _pattern(operand)
    return result


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
    """The pattern of just this text; anything else, and a text that no pattern can hold, as it is."""
    if not isinstance(value, str) or len(value) > MAX_LENGTH or "\x00" in value:
        return value
    return Regex(rf"^{re.escape(value)}\z")
