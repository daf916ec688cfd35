"""Finds the pages of lists of tasks."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from taskapi.accounts.users.schemas import UserRead
from taskapi.db import damaged
from taskapi.db.connection import BSON
from taskapi.tasks.query.cursor import CursorSigner, read_cursor, write_cursor
from taskapi.tasks.query.page_loader import PageLoader
from taskapi.tasks.query.places import place
from taskapi.tasks.query.projection import Projection, TaskPart
from taskapi.tasks.query.search import MAX_COUNTED, Count, Plan, TaskSearch
from taskapi.tasks.query.stages import collation_for
from taskapi.tasks.schemas import OwnerRead, TaskRead
from taskapi.tasks.storage.list_repository import TaskListRepository
from taskapi.tasks.storage.reading import PUBLIC, SOURCE, version_of
from taskapi.tasks.storage.scope import Scope

LISTED = {name: 1 for name in PUBLIC if name != "owner"}  # the owner is always the caller
AT_ONCE = 20  # tasks that are validated without yielding to other requests: a page of the default length
_tasks: TypeAdapter[Any] = TypeAdapter(list[TaskRead])
_parts: TypeAdapter[Any] = TypeAdapter(list[TaskPart])


class TaskPage(NamedTuple):
    """A page of a list of tasks."""

    tasks: Sequence[TaskRead | TaskPart]
    versions: list[tuple[str, int]]  # the id and version of each task
    total: int | None  # of the whole list, if requested
    cursor: str | None  # of the next page, if there is one
    is_estimate: bool
    is_partial: bool = False  # whether the tasks have only some of their fields

    @property
    def is_lower_bound(self) -> bool:
        """Whether there may be more tasks than the total."""
        return self.is_estimate and self.total == MAX_COUNTED

    def json(self) -> bytes:
        """The tasks as a JSON array."""
        if self.is_partial:
            return _parts.dump_json(self.tasks, exclude_unset=True)
        return _tasks.dump_json(self.tasks)


@dataclass(frozen=True, slots=True)
class TaskPages:
    """Finds pages of lists."""

    tasks: TaskListRepository
    loader: PageLoader
    signer: CursorSigner
    milliseconds: int  # the time limit of a query

    async def find(self, owner: UserRead, query: TaskSearch) -> TaskPage:
        """Finds the page that ``query`` asks for, in one round trip or two concurrent ones.

        Raises:
            InvalidInput: the filter is invalid, or the cursor belongs to another query.
            QueryTimeout: it took MongoDB longer than ``milliseconds``.
        """
        scope = Scope.of(owner)
        context = query.cursor_context(scope)
        after = None if query.cursor is None else read_cursor(query.cursor, context, self.signer)
        projection = None if query.fields is None else Projection.of(query.fields)
        fields = LISTED if projection is None else projection.stored(*query.order)
        plan = query.plan(scope, fields, after)
        may_share = not query.is_expensive and collation_for(query.order) is None
        found = await self.loader.find(context, plan, self.milliseconds) if may_share else None
        if found is None:
            found = await self._find(scope, query, plan)
        total = _total(found) if query.counting is not Count.none else None
        if may_share and total is not None:
            self.loader.note(context, total)
        following = None
        if len(found) > query.limit:
            found.pop()
            following = write_cursor(place(query.order, found[-1]), context, self.signer)
        is_estimate = query.counting is Count.estimate
        if projection is None:
            tasks = await _whole(found, owner)
            return TaskPage(tasks, [(task.id, task.version) for task in tasks], total, following, is_estimate)
        versions = [(str(task["_id"]), version_of(task)) for task in found]
        parts = [projection.part(task, owner) for task in found]
        return TaskPage(parts, versions, total, following, is_estimate, is_partial=True)

    async def _find(self, scope: Scope, query: TaskSearch, plan: Plan) -> list[BSON]:
        hint = plan.hint
        if plan.hint_for_few is not None and await self.tasks.has_few(scope, self.milliseconds):
            hint = plan.hint_for_few
        options: Any = {"collation": collation_for(query.order), "hint": hint}
        page = self.tasks.aggregate(plan.page, self.milliseconds, **options)
        if plan.total is None:
            return await page
        found, total = await asyncio.gather(page, self.tasks.aggregate(plan.total, self.milliseconds, **options))
        return found + total


def _total(found: list[BSON]) -> int:
    # $count returns no document for zero, even if the last task was deleted between the page and the count.
    return int(found.pop()["total"]) if found and "total" in found[-1] else len(found)


async def _whole(found: list[BSON], owner: UserRead) -> list[TaskRead]:
    theirs = OwnerRead(id=owner.id, username=owner.username)
    for task in found:
        task["owner"] = theirs
    tasks = damaged.read_all(TaskRead, found[:AT_ONCE], SOURCE)
    for start in range(AT_ONCE, len(found), AT_ONCE):
        await asyncio.sleep(0)  # a long page must not keep other requests waiting
        tasks += damaged.read_all(TaskRead, found[start : start + AT_ONCE], SOURCE)
    return tasks
