"""The index that a query of an owner's tasks is told to use, where it can be known without a look at the data.

Nine indexes begin with the owner. Where no condition is on what follows the owner in one of them, MongoDB tries all nine, each
for up to 30 % of the collection: for an owner of very many tasks that takes several times longer than the query itself.
A query with a condition on an indexed field is left to MongoDB, which alone knows how many tasks it finds.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import takewhile
from typing import Final

from taskapi.database import BSON
from taskapi.tasks.documents import OWNER, TaskDocument
from taskapi.tasks.exact_text import COLLATED
from taskapi.tasks.filter import LOGICAL
from taskapi.tasks.order import Order

ALL_OF_OWNER: Final = "owner_newest"
WILDCARD: Final = "metadata."  # each path below it is in an index

_Keys = tuple[tuple[str, int], ...]


def choose(matching: BSON, order: Order, *, after_place: bool = False) -> str | None:
    """The name of the index for the tasks of an owner that match, in ``order``; None leaves it to MongoDB.

    ``after_place``: the query asks only for what follows a place in that order.
    """
    if "$text" in matching:  # MongoDB takes no hint beside it
        return None
    collated = COLLATED in order
    indexed = _FIRST[collated]
    if any(name in indexed or name.startswith(WILDCARD) for name in _fields(matching.get("$and", ()))):
        return None
    return _index_of(tuple(order.items()), collated, after_place)


def _fields(conditions: Iterable[BSON]) -> Iterator[str]:
    for condition in conditions:
        for name, operand in condition.items():
            if not name.startswith("$"):
                yield name
            elif name in LOGICAL:  # others are expressions, which no index serves
                yield from _fields(operand)


@lru_cache(256)
def _index_of(order: _Keys, collated: bool, after_place: bool) -> str:
    """The index that has the tasks in ``order``.

    Without one, after a place the index that begins as ``order`` does: it skips what lies before the place.
    """
    reverse = tuple((name, -direction) for name, direction in order)
    shared = {
        name: max(_shared(keys, order), _shared(keys, reverse))
        for name, keys in _INDEXES.items()
        if collated or name not in _COLLATED
    }
    best = max(shared, key=lambda name: shared[name])
    return best if shared[best] == len(order) or (after_place and shared[best]) else ALL_OF_OWNER


def _shared(keys: _Keys, order: _Keys) -> int:
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
