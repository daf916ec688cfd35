"""The order of a list of tasks: always total, and able to go on after any place in it."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError
from pymongo import ASCENDING, DESCENDING

from taskapi.database import BSON
from taskapi.tasks.places import beyond, equal_to

SORTABLE = ("created_at", "updated_at", "due_date", "priority", "title")
RELEVANCE = "relevance"  # the text score, under the name that it has within a pipeline
_FIELD = f"-?({'|'.join(SORTABLE)})"

Order = Mapping[str, int]
"""Stored fields and directions, the first the most significant; ends in ``_id``."""

NEWEST: Order = {"created_at": DESCENDING, "_id": DESCENDING}
MOST_RELEVANT: Order = {RELEVANCE: DESCENDING, "_id": DESCENDING}


def _sortable(sort: str) -> str:
    names = [part.removeprefix("-") for part in sort.split(",")]
    if not set(names) <= set(SORTABLE):
        raise PydanticCustomError(
            "unknown_sort", f"should be of {', '.join(SORTABLE)}; several separated by commas, - before one for descending"
        )
    if len(set(names)) < len(names):
        raise PydanticCustomError("repeated_sort", "should name a field once")
    return sort


Sort = Annotated[
    str,
    Field(
        json_schema_extra={"pattern": rf"^{_FIELD}(,{_FIELD})*$"},
        max_length=200,
        description=f"Fields separated by commas, `-` before one for descending: {', '.join(SORTABLE)}. "
        "Without it the newest come first; with `q`, the most relevant. To synchronise use `updated_at`: each change moves a "
        "task on in it, so that pages by cursor meet every task that was there all the time.",
        examples=["-priority,due_date"],
    ),
    AfterValidator(_sortable),
]


@lru_cache(256)
def parsed(sort: str) -> Order:
    """The order that ``sort`` names, made total by ``_id`` in the direction of the last field, so that an index serves it."""
    order = {part.lstrip("-"): DESCENDING if part.startswith("-") else ASCENDING for part in sort.split(",")}
    return {**order, "_id": list(order.values())[-1]}


def ranges(order: Order, after: Sequence[Any]) -> Iterator[list[BSON]]:
    """What follows a place in ``order``, as disjoint ranges one after the other, each the conditions of one range of an index.

    ``after`` holds the values of a document at that place: first comes what equals it in all fields but the last, then
    what equals it in all but the last two, and so on.
    """
    keys = list(zip(order.items(), after, strict=True))
    for place in reversed(range(len(keys))):
        (name, direction), value = keys[place]
        if value is None and direction == DESCENDING:
            continue  # nothing sorts below null
        equal: list[BSON] = [equal_to(other, its) for (other, _), its in keys[:place]]
        yield [*equal, *beyond(name, value, direction)]
