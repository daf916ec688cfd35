"""Chooses the index for a query on an owner's tasks, where the best one is known without looking at the data.

Eleven indexes start with the owner. If a query has no condition on a field that follows the owner in any of them, MongoDB
tries all of them, each for up to 30 % of the collection: for an owner of very many tasks, that takes several times longer than
the query itself. A query with a condition on an indexed field is left to MongoDB, which alone knows how many tasks match.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import takewhile
from typing import Any, Final

from taskapi.db.connection import BSON
from taskapi.tasks.query.exact_text import COLLATED
from taskapi.tasks.query.filter import LOGICAL
from taskapi.tasks.query.sort import Order
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.indexes import OWNER

ALL_OF_OWNER: Final = "owner_newest"
WILDCARD: Final = "metadata."  # each path below it is in an index, which knows present values but not missing ones
COMPLETED: Final = "completed_at"  # most tasks of a large owner are done: a denial selects nearly all
DENIALS: Final = frozenset({"$ne", "$nin", "$not", "$exists"})

_Keys = tuple[tuple[str, int], ...]


def choose(matching: BSON, order: Order, *, after_place: bool = False) -> str | None:
    """The name of the index for an owner's matching tasks in ``order``; None leaves the choice to MongoDB.

    ``after_place``: the query returns only tasks after a cursor.
    """
    if "$text" in matching:  # MongoDB accepts no hint with it
        return None
    collated = COLLATED in order
    indexed = _FIRST[collated]
    if any(name in indexed or name.startswith(WILDCARD) for name in _fields(matching.get("$and", ()))):
        return None
    best, shared = _best(tuple(order.items()), collated)
    # An index that shares only the first keys of the order still skips what lies before the cursor.
    return best if shared == len(order) or (after_place and shared) else ALL_OF_OWNER


def is_served(order: Order) -> bool:
    """Whether an index has an owner's tasks in ``order``."""
    return _best(tuple(order.items()), COLLATED in order)[1] == len(order)


def _fields(conditions: Iterable[BSON], *, denied: bool = False) -> Iterator[str]:
    """The fields with conditions that an index may serve."""
    for condition in conditions:
        for name, operand in condition.items():
            if name in LOGICAL:
                yield from _fields(operand, denied=denied or name == "$nor")
            elif not name.startswith("$") and not (_may_be_missing(name) and (denied or _is_denial(operand))):
                yield name  # a name that starts with $ is an expression, which no index serves


def _may_be_missing(name: str) -> bool:
    return name == COMPLETED or name.startswith(WILDCARD)


def _is_denial(operand: Any) -> bool:
    return isinstance(operand, dict) and operand.keys() <= DENIALS and operand.get("$exists") is not True


@lru_cache(256)
def _best(order: _Keys, collated: bool) -> tuple[str, int]:
    """The index that shares the most leading keys with ``order``, and how many."""
    reverse = tuple((name, -direction) for name, direction in order)
    shared = {
        name: max(_count_shared(keys, order), _count_shared(keys, reverse))
        for name, keys in _INDEXES.items()
        if collated or name not in _COLLATED
    }
    best = max(shared, key=lambda name: shared[name])
    return best, shared[best]


def _count_shared(keys: _Keys, order: _Keys) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(keys, order, strict=False)))


_DOCUMENTS: Final = [index.document for index in TaskDocument.Settings.indexes]
_INDEXES: Final[dict[str, _Keys]] = {
    index["name"]: tuple(index["key"].items())[1:]
    for index in _DOCUMENTS
    if next(iter(index["key"].items())) == OWNER and "partialFilterExpression" not in index
}
_COLLATED: Final = {index["name"] for index in _DOCUMENTS if "collation" in index}
_FIRST: Final = {
    collated: frozenset({"_id", "key"} | {keys[0][0] for name, keys in _INDEXES.items() if collated or name not in _COLLATED})
    for collated in (False, True)
}
