"""The order of a list of tasks: always total, so that a cursor can continue after any task."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError
from pymongo import ASCENDING, DESCENDING

from taskapi.db.connection import BSON
from taskapi.tasks.fields import SORTABLE
from taskapi.tasks.query.places import beyond, equal_to

RELEVANCE = "relevance"  # a temporary field in a pipeline: the text score
DUE = "due_date"
DATED: BSON = {DUE: {"$ne": None}}
UNDATED: BSON = {DUE: None}
_FIELD = f"-?({'|'.join(SORTABLE)})"

Order = Mapping[str, int]
"""Stored fields and directions, the first the most significant; ends in ``_id``."""

NEWEST: Order = {"created_at": DESCENDING, "_id": DESCENDING}
BY_RELEVANCE: Order = {RELEVANCE: DESCENDING, "_id": DESCENDING}


def _sortable(sort: str) -> str:
    names = [part.removeprefix("-") for part in sort.split(",")]
    if not set(names) <= set(SORTABLE):
        raise PydanticCustomError(
            "unknown_sort",
            f"must name one or more of {', '.join(SORTABLE)}, separated by commas, with - before a name for descending order",
        )
    if len(set(names)) < len(names):
        raise PydanticCustomError("repeated_sort", "must not name a field twice")
    return sort


Sort = Annotated[
    str,
    Field(
        json_schema_extra={"pattern": rf"^{_FIELD}(,{_FIELD})*$"},
        max_length=200,
        description=f"Fields separated by commas, `-` before one for descending: {', '.join(SORTABLE)}. "
        "Tasks without a due date come last in both directions; titles sort in natural order, with numbers by value. "
        "The default is newest first; with `q`, most relevant first. To synchronise, use `updated_at`: each change moves a task "
        "forward, so cursor pages return every task that exists throughout.",
        examples=["-priority,due_date"],
    ),
    AfterValidator(_sortable),
]


@lru_cache(256)
def parse_sort(sort: str) -> Order:
    """The order that ``sort`` names, made total by ``_id`` in the direction of the last field, so that an index serves it."""
    order = {part.lstrip("-"): DESCENDING if part.startswith("-") else ASCENDING for part in sort.split(",")}
    return {**order, "_id": list(order.values())[-1]}


def choose_order(sort: str | None, q: str | None) -> Order:
    """The order that ``sort`` names; by default newest first, or most relevant first in a search for ``q``."""
    if sort is not None:
        return parse_sort(sort)
    return NEWEST if q is None else BY_RELEVANCE


def has_undated_last(order: Order) -> bool:
    """Whether tasks without a due date must be moved: they come last in both directions, but MongoDB sorts null first."""
    return order.get(DUE) == ASCENDING


def runs(order: Order, after: Sequence[Any] | None = None) -> Iterator[list[list[BSON]]]:
    """Splits ``order``, or the part of it after a cursor, into consecutive, disjoint runs.

    A run usually has one stream: the conditions of one range of an index, which has the tasks in order. If other fields are
    sorted before the due date, tasks without one come last among those that are equal in these fields; such a run has two
    streams, with and without a due date, which must be merged.

    ``after`` holds the sort values of the cursor's task: the first run equals it in all fields but the last, the next one in
    all but the last two, and so on.
    """
    split = list(order).index(DUE) if has_undated_last(order) else None
    if after is None:
        if split == 0:
            yield from ([[DATED]], [[UNDATED]])
        else:
            yield [[]] if split is None else [[DATED], [UNDATED]]
        return
    keys = list(zip(order.items(), after, strict=True))
    for place in reversed(range(len(keys))):
        (name, direction), value = keys[place]
        if value is None and (direction == DESCENDING or place == split):
            continue  # nothing comes after null
        equal: list[BSON] = [equal_to(other, its) for (other, _), its in keys[:place]]
        following = [*equal, *beyond(name, value, direction)]
        if place == split:
            yield from ([[*following, DATED]], [[*equal, UNDATED]])
        else:
            yield [[*following, DATED], [*following, UNDATED]] if split is not None and place < split else [following]
