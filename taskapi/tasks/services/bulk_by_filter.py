"""Makes one change to all tasks that match a filter."""

from dataclasses import dataclass
from typing import NamedTuple, Self

from bson import ObjectId
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.clock import utc_now
from taskapi.core.cooperative import CooperativeYield
from taskapi.core.errors import InvalidInput, NotFound
from taskapi.core.fields import QueryBool
from taskapi.db.connection import BSON, Session
from taskapi.tasks.errors import CountDiffers
from taskapi.tasks.query import index_hints
from taskapi.tasks.query.selection import TaskFilters
from taskapi.tasks.query.stages import narrow
from taskapi.tasks.schemas import TaskUpdate
from taskapi.tasks.services.tasks import TaskService, prepare_update
from taskapi.tasks.storage import rules
from taskapi.tasks.storage.history import Action, at_version, entry
from taskapi.tasks.storage.list_repository import TaskListRepository
from taskapi.tasks.storage.pipelines import fields_of, trash_pipeline, update
from taskapi.tasks.storage.reading import version_of
from taskapi.tasks.storage.repository import TaskRepository
from taskapi.tasks.storage.scope import Scope

MAX_MATCHES = 100_000
MAX_EXPECTED = 10_000  # as many as one transaction can change within its time limit
MAX_MERGED = 1000  # metadata is merged task by task


class ManyQuery(TaskFilters):
    """The tasks to change, and safeguards."""

    dry_run: QueryBool = Field(False, description="Only count the tasks.")
    expect: int | None = Field(None, ge=0, le=MAX_EXPECTED, description="Change nothing unless exactly this many tasks match.")

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if not self.model_fields_set - {"dry_run", "expect", "tz"}:
            raise PydanticCustomError("filter_missing", "send a filter; where={} matches all tasks")
        return self


class ManyResult(BaseModel):
    """How many tasks matched and were changed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"matched": 12, "changed": 12}]})

    matched: int = Field(description="Tasks that matched the filter.")
    changed: int = Field(description="Tasks that were changed; 0 for a dry run.")


class _Change(NamedTuple):
    """The change made to every task, of which there may be at most ``limit``."""

    pipeline: list[BSON] | None
    added: BSON  # to the history of each
    data: TaskUpdate = TaskUpdate()  # every task must still meet its rules
    one_by_one: bool = False
    limit: int = MAX_MATCHES


@dataclass(frozen=True, slots=True)
class BulkByFilterService:
    """Makes one change to all tasks that match a filter."""

    tasks: TaskRepository
    lists: TaskListRepository
    service: TaskService
    trash_days: int
    milliseconds: int  # the time limit of a query

    async def update(self, owner: UserRead, query: ManyQuery, data: TaskUpdate) -> ManyResult:
        """Makes the same change to all tasks that ``query`` matches.

        Raises:
            CountDiffers, TooManyMatches, QueryTimeout: nothing was changed.
            InvalidInput: the metadata of a task would exceed its limits, or a task would break a rule between two fields;
                nothing was changed.
        """
        if "metadata" in data.model_fields_set:
            return await self._apply(owner, query, _Change(None, {}, data, one_by_one=True, limit=MAX_MERGED))
        write = update(fields_of(data), owner)
        return await self._apply(owner, query, _Change(write.pipeline if data.model_fields_set else None, write.added, data))

    async def move_to_trash(self, owner: UserRead, query: ManyQuery) -> ManyResult:
        """Moves all tasks that ``query`` matches to the trash. Raises CountDiffers, TooManyMatches, QueryTimeout."""
        added = entry(Action.delete, owner, utc_now())
        return await self._apply(owner, query, _Change(trash_pipeline(owner, self.trash_days, added), added))

    async def _apply(self, owner: UserRead, query: ManyQuery, change: _Change) -> ManyResult:
        matching = query.filter(Scope.of(owner))

        async def work(session: Session | None = None) -> ManyResult:
            hint = index_hints.choose(matching, {}) if session is None else None  # a missing one would end a transaction
            ids = await self.lists.find_ids(matching, change.limit, self.milliseconds, session, hint)
            if query.expect is not None and query.expect != len(ids):
                raise CountDiffers(len(ids), query.expect)
            damaged = await self._check_rules(owner, matching, ids, change.data, session)
            if query.dry_run and change.one_by_one:
                await self._check_each(owner, matching, ids, change.data)
            changed = 0 if query.dry_run else await self._write(owner, matching, ids, damaged, change, session)
            return ManyResult(matched=len(ids), changed=changed)

        # Exactly the counted tasks must change, and no merge may fail half-way. Otherwise, batches are independent.
        is_atomic = query.expect is not None or change.one_by_one
        return await (self.tasks.transaction(work) if is_atomic and not query.dry_run else work())

    async def _check_rules(
        self, owner: UserRead, matching: BSON, ids: list[ObjectId], data: TaskUpdate, session: Session | None
    ) -> list[BSON]:
        """Raises InvalidInput if ``data`` would break a rule in one of the tasks as their owner sees them.

        Returns the damaged tasks that break no rule, although their stored values do not meet its conditions.
        """
        conditions, damaged = rules.conditions(data), list[BSON]()
        if conditions:
            doubtful = narrow(matching, [{"$nor": [{"$and": conditions}]}])
            async for task in self.lists.find_among(doubtful, ids, session):
                try:
                    rules.check(data, task, owner)
                except InvalidInput:
                    raise rules.explain_broken(data) from None
                damaged.append(task)
        return damaged

    async def _check_each(self, owner: UserRead, matching: BSON, ids: list[ObjectId], data: TaskUpdate) -> None:
        """Raises InvalidInput if ``_update_each`` would."""
        turns = CooperativeYield()
        async for task in self.lists.find_among(matching, ids):
            prepare_update(task, data, owner)
            await turns.checkpoint()

    async def _write(
        self,
        owner: UserRead,
        matching: BSON,
        ids: list[ObjectId],
        damaged: list[BSON],
        change: _Change,
        session: Session | None,
    ) -> int:
        """Applies the change to the tasks of ``ids`` that still match. Returns how many were changed."""
        if change.one_by_one:
            return await self._update_each(owner, ids, change.data, session)
        if not change.pipeline:
            return 0
        # A task that would break a rule by now stays as it is.
        sound = narrow(matching, rules.conditions(change.data))
        changed = await self.lists.update_matching(sound, ids, change.pipeline, change.added, session)
        for task in damaged:
            as_judged = narrow(matching, [at_version(frozenset([version_of(task)]))])
            changed += await self.lists.update_matching(as_judged, [task["_id"]], change.pipeline, change.added, session)
        return changed

    async def _update_each(self, owner: UserRead, ids: list[ObjectId], data: TaskUpdate, session: Session | None) -> int:
        changed = 0
        for task_id in ids:
            try:
                await self.service.update(owner, str(task_id), data, None, session)
            except NotFound:  # deleted meanwhile
                continue
            changed += 1
        return changed
