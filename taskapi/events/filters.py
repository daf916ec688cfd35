"""Filters of those who listen: the same parameters, with the same meaning, as in the list of tasks.

Whether a task matches is for the database to say, which compares like the list does: one query for each filter and batch.
"""

from collections.abc import Collection, Iterator, Sequence, Set
from typing import Final

import bson
from bson import ObjectId
from bson.raw_bson import RawBSONDocument
from pydantic import BaseModel, ConfigDict, Field

from taskapi.core.fair_turns import FairTurns
from taskapi.db.connection import BSON
from taskapi.events.rendering import OwnChange
from taskapi.events.schemas import EventType
from taskapi.tasks.query.filter import LOGICAL, WhereDocument
from taskapi.tasks.query.selection import TagParameter, TaskFilters, WhereParameter
from taskapi.tasks.schemas import Status
from taskapi.tasks.services.changes import SERVERS_OWN, Change, TaskChanges
from taskapi.tasks.storage.scope import Scope

GONE: Final = (EventType.deleted, EventType.purged)
MAX_QUERIES: Final = 4  # of all who listen at the same time: fewer than there are threads for reads
MAX_QUERIES_OF_ACCOUNT: Final = 2


class EventFilter(BaseModel):
    """Which tasks somebody wants to hear of; all without a condition."""

    model_config = ConfigDict(extra="forbid")

    where: WhereDocument | None = None
    tag: TagParameter | None = Field(None, description="Tasks with this tag, ignoring case.")
    status: Status | None = Field(None, description="Tasks with this status.")

    @property
    def is_given(self) -> bool:
        """Whether there is a condition."""
        return bool(self.where) or self.tag is not None or self.status is not None

    def selection(self) -> TaskFilters:
        """The filter of the list."""
        return TaskFilters.model_construct(where=self.where, tag=self.tag, status=self.status)

    def fields(self) -> frozenset[str]:
        """The public fields, without what is inside them, that decide whether a task matches."""
        named = {name.partition(".")[0] for name in _names(self.where or {})}
        if self.tag is not None:
            named.add("tags")
        if self.status is not None:
            named.add("status")
        return frozenset(named)


class EventFilterQuery(EventFilter):
    """The same in a query string."""

    where: WhereParameter | None = None


def _names(where: BSON) -> Iterator[str]:
    for name, operand in where.items():
        if name in LOGICAL:
            for part in operand:
                yield from _names(part)
        else:
            yield name


class FilterQueries:
    """The queries of the filters of all who listen. Accounts take turns: one may have 2,000 filters, and each change is asked of
    all of them. What changes while a filter waits for its turn is in its next query.
    """

    def __init__(self, changes: TaskChanges) -> None:
        self._changes = changes
        self._turns = FairTurns(MAX_QUERIES, MAX_QUERIES_OF_ACCOUNT)

    async def matching(self, changes: Collection[Change], owner_id: ObjectId, condition: RawBSONDocument) -> set[ObjectId]:
        """As ``TaskChanges.matching``, when it is the turn of the account."""
        async with self._turns.turn(owner_id):
            return await self._changes.matching(changes, owner_id, condition)


class FilteredChanges:
    """Chooses the changes that one who filters is told of.

    A task that matches is told of as it is; one that does not, but may have matched before, as one that has left. A deletion
    is always told: nobody knows any more whether the task had matched.
    """

    def __init__(self, wanted: EventFilter, owner_id: ObjectId, queries: FilterQueries | TaskChanges) -> None:
        # Compiled once, which takes milliseconds for a large filter, and kept in a form that takes little memory.
        self._condition = RawBSONDocument(bson.encode(wanted.selection().filter(Scope.of_id(owner_id))))
        self._fields = wanted.fields()
        self._owner_id, self._queries = owner_id, queries

    async def choose(self, changes: Sequence[OwnChange]) -> Sequence[OwnChange]:
        """Those of ``changes`` that are told, in their order."""
        asked = [own.change for own in changes if own.type not in GONE]
        matching = await self._queries.matching(asked, self._owner_id, self._condition) if asked else frozenset[ObjectId]()
        return list(self._chosen(changes, matching))

    def _chosen(self, changes: Sequence[OwnChange], matching: Set[ObjectId]) -> Iterator[OwnChange]:
        for own in changes:
            if own.type in GONE or own.change.task_id in matching:
                yield own
            elif own.type is EventType.updated and not self._fields.isdisjoint((*own.change.changed, *SERVERS_OWN)):
                yield own._replace(has_left=True)
