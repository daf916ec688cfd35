"""Pipeline stages that return tasks in order. They read in the order of an index, and no further than needed."""

from collections.abc import Sequence
from typing import Any

from pymongo.collation import Collation

from taskapi.db.connection import BSON
from taskapi.tasks.query.exact_text import counted, exact
from taskapi.tasks.query.index_hints import counts_by_code_point, is_served
from taskapi.tasks.query.sort import DUE, RELEVANCE, Order, has_undated_last, runs
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.indexes import COLLATION

NO_DATE = "no_date"  # a temporary field in a pipeline: whether a task has no due date


def collation_for(order: Order) -> Collation | None:
    """The collation of a query in this order: as people sort, if it sorts by title; otherwise None, by code point."""
    return COLLATION if "title" in order else None


def adapt_filter(condition: BSON, order: Order) -> BSON:
    """Adapts ``condition`` to a query in this order: texts still compare by code point, and an index can find them."""
    return condition if collation_for(order) is None else exact(condition)


def total_stages(matching: BSON, order: Order, most: int | None = None) -> list[BSON]:
    """The stages that count the matching tasks as ``total``, at most ``most``, in a query in ``order``."""
    if collation_for(order) is not None and counts_by_code_point(matching):
        matching = counted(matching)
    return [{"$match": matching}, *_skip_and_limit(0, most), {"$count": "total"}]


def ordered_stages(
    matching: BSON, order: Order, projection: BSON, after: Sequence[Any] | None = None, start: int = 0, most: int | None = None
) -> list[BSON]:
    """The stages that return the matching tasks in ``order``: they skip ``start`` tasks and return at most ``most``, or all.

    ``after`` holds the sort values of the last task of the previous page; only tasks after it are returned.
    """
    # An order without an index is sorted in one pass: two streams would each read all tasks.
    if "$text" in matching or (after is None and next(iter(order)) != DUE and has_undated_last(order) and not is_served(order)):
        return _in_one_pass(matching, order, projection, after, start, most)
    found = list(runs(order, after))
    if len(found) == len(found[0]) == 1:
        return [*_match_and_sort(matching, order, found[0][0]), *_skip_and_limit(start, most), {"$project": projection}]
    # A single $or over all runs would read and sort all tasks; one after the other, each run is read in the order of an index.
    reach = None if most is None else start + most
    first, *others = [_run_stages(matching, order, projection, streams, reach) for streams in found]
    return [*first, *map(union, others), *_skip_and_limit(start, most)]


def narrow(matching: BSON, conditions: Sequence[BSON]) -> BSON:
    """The filter of what matches and meets these conditions, too."""
    every = [*matching.get("$and", []), *conditions]
    return {**matching, "$and": every} if every else matching


def union(pipeline: list[BSON]) -> BSON:
    """The stage that appends the results of ``pipeline`` on the whole collection."""
    return {"$unionWith": {"coll": TaskDocument.Settings.name, "pipeline": pipeline}}


def _run_stages(matching: BSON, order: Order, projection: BSON, streams: Sequence[list[BSON]], most: int | None) -> list[BSON]:
    found = [
        [*_match_and_sort(matching, order, conditions), *_skip_and_limit(0, most), {"$project": projection}]
        for conditions in streams
    ]
    if len(found) == 1:
        return found[0]
    dated, undated = [[*stream, {"$set": {NO_DATE: number}}] for number, stream in enumerate(found)]
    return [*dated, union(undated), {"$sort": _undated_last(order)}, *_skip_and_limit(0, most)]


def _match_and_sort(matching: BSON, order: Order, conditions: list[BSON]) -> list[BSON]:
    return [{"$match": narrow(matching, conditions)}, {"$sort": order}]


def _skip_and_limit(start: int, most: int | None) -> list[BSON]:
    skip = [{"$skip": start}] if start else []
    return skip if most is None else [*skip, {"$limit": most}]


def _undated_last(order: Order) -> BSON:
    """The sort that puts tasks without a due date last. No index has this order, because MongoDB sorts null first."""
    keys = [(key, way) for name, way in order.items() for key, way in [*([(NO_DATE, 1)] if name == DUE else []), (name, way)]]
    return dict(keys)


def _in_one_pass(
    matching: BSON, order: Order, projection: BSON, after: Sequence[Any] | None, start: int, most: int | None
) -> list[BSON]:
    score: list[BSON] = []
    if RELEVANCE in order:
        score = [{"$set": {RELEVANCE: {"$meta": "textScore"}}}]
        if 0 not in projection.values():
            projection = {**projection, RELEVANCE: 1}
    beyond: list[BSON] = []
    if after is not None:
        beyond = [{"$match": {"$or": [{"$and": part} for streams in runs(order, after) for part in streams]}}]
    sort: list[BSON] = [{"$sort": order}]
    if has_undated_last(order):
        no_date = {"$eq": [{"$ifNull": [f"${DUE}", None]}, None]}
        sort = [{"$set": {NO_DATE: no_date}}, {"$sort": _undated_last(order)}]
    return [{"$match": matching}, *score, *beyond, *sort, *_skip_and_limit(start, most), {"$project": projection}]
