"""Finds short lists that are requested together with one query: a round trip costs more than such a list.

Those who request the same page of the same list together share its results as well.

If a list has no filter, its total is that of all tasks of the owner. MongoDB takes longer to choose an index for that than to
count a short list. So these totals come first, where MongoDB accepts an index hint, and those of several lists are counted as
one.
"""

from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import bson
from bson import ObjectId
from pymongo.errors import OperationFailure

from taskapi.core.data_loader import DataLoader
from taskapi.db.connection import BSON
from taskapi.db.raw import Raw, decode, has_id, split_number
from taskapi.tasks.query.search import Plan
from taskapi.tasks.query.stages import union
from taskapi.tasks.storage.indexes import ALL_OF_OWNER
from taskapi.tasks.storage.list_repository import TaskListRepository
from taskapi.tasks.storage.scope import Scope, outside_trash_of

MAX_SHARED = 8  # lists per query: MongoDB finds them one after the other
QUERIES = 2  # at the same time: MongoDB works on one while the other is decoded
MAX_TOTAL = 1000  # tasks in a list that shares a query: counting more takes long, and the other lists would wait
MAX_REMEMBERED = 10_000  # lists whose total is known
NO_TASKS = {"total": 0}
LIST = "list"  # a temporary field of the results, the last one: the number of their list


@dataclass(frozen=True, slots=True)
class _Wanted:
    plan: Plan = field(compare=False)
    encoded: bytes  # its pipelines, which contain the owner
    milliseconds: int
    context: bytes = field(compare=False)  # of the list

    @property
    def pipeline(self) -> list[BSON]:
        """The stages for the page, followed by the total unless it comes first."""
        plan = self.plan
        return plan.page if plan.total is None or plan.all_of else [*plan.page, union(_bounded(plan.total))]

    def is_too_long(self, found: list[Raw]) -> bool:
        """Whether the list has become so long that its total was not counted to the end."""
        is_counted = self.plan.total is not None and bool(found) and not has_id(found[-1])
        return is_counted and decode(found[-1])["total"] > MAX_TOTAL


class PageLoader:
    """Loads pages of lists for one application. A list may share a query once it is known to be short."""

    def __init__(self, tasks: TaskListRepository) -> None:
        self._tasks = tasks
        self._found = DataLoader(self._find_short, QUERIES, MAX_SHARED)
        self._totals: OrderedDict[bytes, int] = OrderedDict()  # by cursor context: owner, filters and order

    def note(self, context: bytes, total: int) -> None:
        """Remembers how many tasks a list has."""
        self._totals[context] = total
        self._totals.move_to_end(context)
        if len(self._totals) > MAX_REMEMBERED:
            self._totals.popitem(last=False)

    async def find(self, context: bytes, plan: Plan, milliseconds: int) -> list[Raw] | None:
        """The results of ``plan`` from a shared query; None if the list needs a query of its own.

        It does if it may be long, or has become so, or if MongoDB refused or aborted the shared query: which list caused that is
        not known.
        """
        if plan.is_total_apart or not self._is_short(context):
            return None
        encoded = bson.encode({"page": plan.page, "total": plan.total})
        return await self._found.get(_Wanted(plan, encoded, milliseconds, context))

    def _is_short(self, context: bytes) -> bool:
        return self._totals.get(context, MAX_TOTAL + 1) <= MAX_TOTAL

    async def _find_short(self, lists: Collection[_Wanted]) -> dict[_Wanted, list[Raw]]:
        """The results of those lists that are short, as far as is known, and that turn out to be."""
        asked = [each for each in lists if self._is_short(each.context)]  # one that waited here may have been found to be long
        found = await self._find_together(asked) if asked else {}
        for each in [each for each, tasks in found.items() if each.is_too_long(tasks)]:
            self.note(each.context, MAX_TOTAL + 1)
            del found[each]
        return found

    async def _find_together(self, lists: Collection[_Wanted]) -> dict[_Wanted, list[Raw]]:
        if len(lists) == 1:
            (only,) = lists
            return {only: await self._find_alone(only)}
        first, *others = [[*each.pipeline, {"$set": {LIST: number}}] for number, each in enumerate(lists)]
        scopes, hint = [each.plan.all_of for each in lists if each.plan.all_of], None
        if scopes:
            first, others = [*_count_each(scopes), {"$set": {LIST: len(lists)}}], [first, *others]
            hint = ALL_OF_OWNER
        try:
            pipeline = [*first, *map(union, others)]
            results = await self._tasks.aggregate(pipeline, min(each.milliseconds for each in lists), hint=hint)
        except OperationFailure:
            return {}
        found: list[list[Raw]] = [[] for _ in [*lists, "totals"]]
        for result in results:
            number, document = split_number(result, LIST)
            found[number].append(document)
        counted = [(each.pop("_id"), each) for each in map(decode, found.pop())]
        is_cut = sum(each["total"] for _, each in counted) > MAX_TOTAL * len(scopes)
        totals = {owner_id: total for owner_id, total in counted if isinstance(owner_id, ObjectId)}  # a script may store a list
        for each, tasks in zip(lists, found, strict=True):
            if each.plan.all_of:
                tasks.append(bson.encode(totals.get(each.plan.all_of.owner_id, NO_TASKS)))
        results_of = dict(zip(lists, found, strict=True))
        return {each: tasks for each, tasks in results_of.items() if not (each.plan.all_of and is_cut) or each.is_too_long(tasks)}

    async def _find_alone(self, wanted: _Wanted) -> list[Raw]:
        plan = wanted.plan
        if plan.total is None or not plan.all_of:
            return await self._tasks.aggregate(wanted.pipeline, wanted.milliseconds)
        pipeline = [*_bounded(plan.total), union(plan.page)]
        results = await self._tasks.aggregate(pipeline, wanted.milliseconds, hint=ALL_OF_OWNER)
        # $count returns no document for zero, even if there is a task by the time that the page is read.
        return results if not results or has_id(results[0]) else [*results[1:], results[0]]


def _count_each(scopes: Sequence[Scope]) -> list[BSON]:
    """The stages that return the number of tasks of each of ``scopes``, with the owner as ``_id``.

    They stop at more than ``MAX_TOTAL`` for each: a list may have grown since it was short.
    """
    most = MAX_TOTAL * len(scopes) + 1
    return [{"$match": outside_trash_of(scopes)}, {"$limit": most}, {"$group": {"_id": "$owner_id", "total": {"$sum": 1}}}]


def _bounded(total: Sequence[BSON]) -> list[BSON]:
    """The stages of a total that count one task more than ``MAX_TOTAL``, no further: a list may have grown since it was short."""
    *matching, count = total
    return [*matching, {"$limit": MAX_TOTAL + 1}, count]
