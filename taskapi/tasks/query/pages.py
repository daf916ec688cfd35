"""Finds the pages of lists of tasks."""

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

from taskapi.accounts.users.schemas import UserRead
from taskapi.db.connection import BSON
from taskapi.db.raw import Raw, decode
from taskapi.tasks.query.cursor import CursorSigner, read_cursor, write_cursor
from taskapi.tasks.query.page_loader import LIST, PageLoader
from taskapi.tasks.query.places import place
from taskapi.tasks.query.projection import Projection
from taskapi.tasks.query.search import MAX_COUNTED, Count, Plan, TaskSearch
from taskapi.tasks.query.stages import collation_for, union
from taskapi.tasks.storage.list_repository import TaskListRepository
from taskapi.tasks.storage.reading import WITHOUT_INTERNAL, version_of
from taskapi.tasks.storage.rendering import Rendering, TaskRenderer
from taskapi.tasks.storage.scope import Scope

LISTED = {**WITHOUT_INTERNAL, LIST: 0}
ALWAYS = nullcontext()
AT_ONCE = 20  # tasks that are rendered without yielding to other requests: a page of the default length


class FoundPage(NamedTuple):
    """A page of a list as it is stored."""

    tasks: list[Raw]
    projection: Projection | None  # if only some fields were requested
    total: int | None  # of the whole list, if requested
    cursor: str | None  # of the next page, if there is one


class TaskPage(NamedTuple):
    """A page of a list of tasks."""

    tasks: list[Rendering]
    total: int | None  # of the whole list, if requested
    cursor: str | None  # of the next page, if there is one
    is_estimate: bool

    @property
    def is_lower_bound(self) -> bool:
        """Whether there may be more tasks than the total."""
        return self.is_estimate and self.total == MAX_COUNTED

    def json(self) -> bytes:
        """The tasks as a JSON array."""
        return b"[%b]" % b",".join(task.json for task in self.tasks)


@dataclass(frozen=True, slots=True)
class TaskPages:
    """Finds pages of lists."""

    tasks: TaskListRepository
    loader: PageLoader
    renderer: TaskRenderer
    signer: CursorSigner
    milliseconds: int  # the time limit of a query

    async def find(self, scope: Scope, query: TaskSearch, admitted: AbstractAsyncContextManager[None] = ALWAYS) -> FoundPage:
        """Finds the page of the tasks in ``scope`` that ``query`` asks for, in one round trip or two concurrent ones.

        ``admitted`` is entered for a list that needs a query of its own; the others share a bounded number of queries.

        Raises:
            InvalidInput: the filter is invalid, or the cursor belongs to another query.
            QueryTimeout: it took MongoDB longer than ``milliseconds``.
        """
        context = query.cursor_context(scope)
        after = None if query.cursor is None else read_cursor(query.cursor, context, self.signer)
        projection = None if query.fields is None else Projection.of(query.fields)
        fields = LISTED if projection is None else projection.stored(*query.order)
        plan = query.plan(scope, fields, after)
        may_share = not query.is_expensive and collation_for(query.order) is None
        found = await self.loader.find(context, plan, self.milliseconds) if may_share else None
        if found is None:
            async with admitted:
                found = await self._find(scope, query, plan)
        else:
            found = [*found]  # others may get the same list
        total = _total(found) if query.counting is not Count.none else None
        if may_share and total is not None:
            self.loader.note(context, total)
        following = None
        if len(found) > query.limit:
            found.pop()
            following = write_cursor(place(query.order, decode(found[-1])), context, self.signer)
        return FoundPage(found, projection, total, following)

    async def render(self, found: FoundPage, owner: UserRead, query: TaskSearch) -> TaskPage:
        """The page that was found for ``query``, as ``owner`` sees it."""
        tasks = await self._render(found.tasks, owner, found.projection)
        return TaskPage(tasks, found.total, found.cursor, query.counting is Count.estimate)

    async def _find(self, scope: Scope, query: TaskSearch, plan: Plan) -> list[Raw]:
        hint = plan.hint
        if plan.hint_for_few is not None and await self.tasks.has_few(scope, self.milliseconds):
            hint = plan.hint_for_few
        options: Any = {"collation": collation_for(query.order), "hint": hint}
        if plan.total is None or not plan.is_total_apart:
            both = plan.page if plan.total is None else [*plan.page, union(plan.total)]
            return await self.tasks.aggregate(both, self.milliseconds, **options)
        pipelines = (plan.page, plan.total)
        found, total = await asyncio.gather(*(self.tasks.aggregate(each, self.milliseconds, **options) for each in pipelines))
        return found + total

    async def _render(self, found: list[Raw], owner: UserRead, projection: Projection | None) -> list[Rendering]:
        tasks: list[Rendering] = []
        for start in range(0, len(found), AT_ONCE):
            if start > 0:
                await asyncio.sleep(0)  # a long page must not keep other requests waiting
            some = found[start : start + AT_ONCE]
            if projection is None:
                tasks += self.renderer.render_all(some, owner)
            else:
                tasks += [_part(decode(task), owner, projection) for task in some]
        return tasks


def _part(task: BSON, owner: UserRead, projection: Projection) -> Rendering:
    part = projection.part(task, owner)
    return Rendering(part.model_dump_json(exclude_unset=True).encode(), str(task["_id"]), version_of(task))


def _total(found: list[Raw]) -> int:
    # $count returns no document for zero, even if the last task was deleted between the page and the count.
    last = decode(found[-1]) if found else None
    if last is None or "_id" in last:
        return len(found)
    found.pop()
    return int(last["total"])
