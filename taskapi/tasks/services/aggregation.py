"""Computes numbers about an owner's tasks, for packages that show them."""

from collections.abc import Sequence
from dataclasses import dataclass

from pymongo import ASCENDING

from taskapi.accounts.users.schemas import UserRead
from taskapi.db.connection import BSON
from taskapi.db.raw import decode_all
from taskapi.tasks.query import index_hints
from taskapi.tasks.query.selection import Selection
from taskapi.tasks.query.stages import narrow
from taskapi.tasks.storage.list_repository import TaskListRepository
from taskapi.tasks.storage.scope import Scope


@dataclass(frozen=True, slots=True)
class TaskAggregation:
    """Runs pipelines over the tasks of one owner outside the trash."""

    tasks: TaskListRepository
    milliseconds: int  # the time limit of a query

    async def run(
        self, owner: UserRead, selection: Selection, stages: Sequence[BSON], condition: BSON | None = None
    ) -> list[BSON]:
        """The results of ``stages`` on the tasks of ``owner`` that match ``selection`` and ``condition``, which is on one field.

        Raises:
            InvalidInput: the selection has an invalid ``where``.
            ExecutionTimeout: it took MongoDB longer than ``milliseconds``; ``to_domain_error`` translates it.
        """
        matching = selection.filter(Scope.of(owner))
        hint = index_hints.choose(matching, dict.fromkeys(condition or (), ASCENDING))  # if the selection leaves a choice
        if condition is not None:
            matching = narrow(matching, [condition])
        return decode_all(await self.tasks.aggregate([{"$match": matching}, *stages], self.milliseconds, hint=hint))
