"""Chooses the index for a query on an owner's tasks, where the best one is known without looking at the data.

Eleven indexes start with the owner and the state. If a query has no condition on a field that follows them in any index, MongoDB
tries all of them, each for up to 30 % of the collection: for an owner of very many tasks, that takes several times longer than
the query itself. A query with a condition on an indexed field is left to MongoDB, which alone knows how many tasks match. But
if no index has the order of the query either, all matching tasks are read before the first is returned, and MongoDB's trial
reads them once for each index: then the index with the most conditions is chosen here.
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
from taskapi.tasks.storage.indexes import ALL_OF_OWNER, OWNER, STATE

WILDCARD: Final = "metadata."  # each path below it is in an index, which knows present values but not missing ones
COMPLETED: Final = "completed_at"  # most tasks of a large owner are done: a denial selects nearly all
UNIQUE: Final = frozenset({"_id", "key"})  # at most a few tasks have a value of these
SELECTIVE: Final = frozenset({"tags", "completed_at", "due_date", "created_at", "updated_at", "title"})  # have many values
RANGES: Final = frozenset({"$eq", "$in", "$all", "$gt", "$gte", "$lt", "$lte", "$regex"})
DENIALS: Final = frozenset({"$ne", "$nin", "$not", "$exists"})

_Keys = tuple[tuple[str, int], ...]


def choose(matching: BSON, order: Order, *, after_place: bool = False) -> str | None:
    """The name of the index for an owner's matching tasks in ``order``; None leaves the choice to MongoDB.

    ``after_place``: the query returns only tasks after a cursor.
    """
    if "$text" in matching:  # MongoDB accepts no hint with it
        return None
    collated = COLLATED in order
    conditions = matching.get("$and", ())
    if any(name in _FIRST[collated] or name.startswith(WILDCARD) for name in _fields(conditions)):
        return _by_conditions(conditions, collated) if order and not after_place and not is_served(order) else None
    return _by_order(order, after_place=after_place)


def choose_for_few(matching: BSON, order: Order) -> str | None:
    """The name of the index if the owner has few tasks: reading all of them takes less time than a trial of each index.

    None if no condition is on metadata: others are bounded by the owner, so their trials are short.
    """
    if "$text" in matching or not any(name.startswith(WILDCARD) for name in _fields(matching.get("$and", ()))):
        return None
    return _by_order(order)


def counts_by_code_point(matching: BSON) -> bool:
    """Whether an index without a collation is likely to find an owner's matching tasks, and can count them alone."""
    fields = set(_fields(matching.get("$and", ())))
    return not fields.isdisjoint(_FIRST[False]) and COLLATED not in fields and "$text" not in matching


def _by_order(order: Order, *, after_place: bool = False) -> str:
    best, shared = _best(tuple(order.items()), COLLATED in order)
    # An index that shares only the first keys of the order still skips what lies before the cursor.
    return best if shared == len(order) or (after_place and shared) else ALL_OF_OWNER


def _by_conditions(conditions: Iterable[BSON], collated: bool) -> str | None:
    """The index whose first keys have the most conditions; None if one of another kind may find a few tasks."""
    bounded = set(_bounded(conditions))
    if any(name in UNIQUE or name.startswith(WILDCARD) for name in _fields(conditions)):
        return None
    counts = {
        name: sum(1 for _ in takewhile(lambda key: key[0] in bounded, keys))
        for name, keys in _INDEXES.items()
        if collated or name not in _COLLATED
    }
    best = max(counts, key=lambda name: (counts[name], _INDEXES[name][0][0] in SELECTIVE))
    return best if counts[best] else ALL_OF_OWNER


def _bounded(conditions: Iterable[BSON]) -> Iterator[str]:
    """The fields whose conditions hold in ranges of an index only."""
    for condition in conditions:
        for name, operand in condition.items():
            if name == "$and":
                yield from _bounded(operand)
            elif not name.startswith("$") and (not isinstance(operand, dict) or operand.keys() & RANGES):
                yield name


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


_SCOPE: Final = (OWNER, STATE)
_DOCUMENTS: Final = [index.document for index in TaskDocument.Settings.indexes]
_INDEXES: Final[dict[str, _Keys]] = {
    index["name"]: tuple(index["key"].items())[len(_SCOPE) :]
    for index in _DOCUMENTS
    if tuple(index["key"].items())[: len(_SCOPE)] == _SCOPE and "partialFilterExpression" not in index
}
_COLLATED: Final = {index["name"] for index in _DOCUMENTS if "collation" in index}
_FIRST: Final = {
    collated: frozenset({"_id", "key"} | {keys[0][0] for name, keys in _INDEXES.items() if collated or name not in _COLLATED})
    for collated in (False, True)
}
