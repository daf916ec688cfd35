"""Finds short lists that are requested together with one query: a round trip costs more than such a list.

Those who request the same page of the same list together share its results as well.
"""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field

import bson
from pymongo.errors import OperationFailure

from taskapi.core.data_loader import DataLoader
from taskapi.db.connection import BSON
from taskapi.db.raw import Raw, split_number
from taskapi.tasks.query.search import Plan
from taskapi.tasks.query.stages import union
from taskapi.tasks.storage.list_repository import TaskListRepository

MAX_SHARED = 8  # lists per query: MongoDB finds them one after the other
QUERIES = 2  # at the same time: MongoDB works on one while the other is decoded
MAX_TOTAL = 1000  # tasks in a list that shares a query: counting more takes long, and the other lists would wait
MAX_REMEMBERED = 10_000  # lists whose total is known
LIST = "list"  # a temporary field of the results, the last one: the number of their list


@dataclass(frozen=True, slots=True)
class _Wanted:
    pipeline: list[BSON] = field(compare=False)
    encoded: bytes  # the pipeline, which contains the owner
    milliseconds: int


class PageLoader:
    """Loads pages of lists for one application. A list may share a query once it is known to be short."""

    def __init__(self, tasks: TaskListRepository) -> None:
        self._tasks = tasks
        self._found = DataLoader(self._find_together, QUERIES, MAX_SHARED)
        self._totals: OrderedDict[bytes, int] = OrderedDict()  # by cursor context: owner, filters and order

    def note(self, context: bytes, total: int) -> None:
        """Remembers how many tasks a list has."""
        self._totals[context] = total
        self._totals.move_to_end(context)
        if len(self._totals) > MAX_REMEMBERED:
            self._totals.popitem(last=False)

    async def find(self, context: bytes, plan: Plan, milliseconds: int) -> list[Raw] | None:
        """The results of ``plan`` from a shared query; None if the list needs a query of its own.

        It does if it may be long, or if MongoDB refused or aborted the shared query: which list caused that is not known.
        """
        if plan.total is not None or self._totals.get(context, MAX_TOTAL + 1) > MAX_TOTAL:
            return None
        return await self._found.get(_Wanted(plan.page, bson.encode({"": plan.page}), milliseconds))

    async def _find_together(self, lists: Collection[_Wanted]) -> dict[_Wanted, list[Raw]]:
        if len(lists) == 1:
            (only,) = lists
            return {only: await self._tasks.aggregate(only.pipeline, only.milliseconds)}
        first, *others = [[*each.pipeline, {"$set": {LIST: number}}] for number, each in enumerate(lists)]
        try:
            pipeline = [*first, *map(union, others)]
            results = await self._tasks.aggregate(pipeline, min(each.milliseconds for each in lists))
        except OperationFailure:
            return {}
        found: list[list[Raw]] = [[] for _ in lists]
        for result in results:
            number, task = split_number(result, LIST)
            found[number].append(task)
        return dict(zip(lists, found, strict=True))
