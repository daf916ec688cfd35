"""The changes of tasks, of all owners, for packages that tell owners of them."""

from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

import bson
from bson import ObjectId
from bson.raw_bson import RawBSONDocument

from taskapi.core.clock import in_utc
from taskapi.db.connection import BSON
from taskapi.tasks.fields import FIELDS
from taskapi.tasks.storage.change_repository import ChangeRepository, StoredTask
from taskapi.tasks.storage.history import Action
from taskapi.tasks.storage.scope import ACTIVE, IN_TRASH, PURGED, Scope

PUBLIC_NAMES: Mapping[str, str] = {field.stored: name for name, field in FIELDS.items() if "." not in name}
SERVERS_OWN = {"id", "updated_at", "version"}  # that other fields change with
OWNERS_NAME = "owner.username"  # follows the account's, which is no change of the task


class ChangeKind(StrEnum):
    """What a write did to a task, as its owner sees it."""

    created = "created"
    updated = "updated"
    deleted = "deleted"  # moved to the trash
    restored = "restored"  # moved out of the trash
    purged = "purged"


class Change(NamedTuple):
    """A write of a task."""

    kind: ChangeKind
    task_id: ObjectId
    at: datetime  # the ``changed_at`` that it set; for a write that set none, when MongoDB stored it
    version: int | None  # that it created; None if it set none
    changed: tuple[str, ...]  # the public fields that it may have changed; empty for a new task
    time: bson.Timestamp  # its place in time: several writes of one transaction have the same
    token: str  # to resume after it


class ChangeBatch(NamedTuple):
    """Changes in their order, and the token of the place behind them."""

    changes: list[Change]
    token: str


@dataclass(frozen=True, slots=True)
class TaskChanges:
    """Reads the changes from MongoDB's change stream, so those that a script makes are among them."""

    tasks: ChangeRepository

    @property
    def are_supported(self) -> bool:
        """Whether MongoDB has change streams: a standalone one has none."""
        return self.tasks.are_supported

    async def now(self) -> bson.Timestamp:
        """The present place in time: all writes that were acknowledged are at or before it, and can be read.

        Raises StreamsUnsupported: MongoDB is standalone.
        """
        return await self.tasks.now()

    async def database_id(self) -> bytes:
        """What tells the stored tasks from those of another database, also after a restore: 16 bytes."""
        return await self.tasks.collection_id()

    @asynccontextmanager
    async def watch(
        self, *, after: str | None = None, since: bson.Timestamp | None = None, await_ms: int | None = None
    ) -> AsyncIterator[AsyncIterator[ChangeBatch]]:
        """The changes after the place of a token, or after a time; without both, from now on.

        Batches may be empty: their tokens move on. ``await_ms`` is as for ``open_stream``. Iterating over them

        Raises:
            StreamsUnsupported: MongoDB is standalone.
            HistoryLost: there is no way to go on from that place.
            PyMongoError: MongoDB cannot be reached; go on after the token of the last batch.
        """
        async with self.tasks.watch(after=after, since=since, await_ms=await_ms) as batches:
            yield (ChangeBatch(list(_read(batch.changes)), batch.token) async for batch in batches)

    async def current(self, changes: Collection[Change], owners: Collection[ObjectId]) -> dict[ObjectId, StoredTask]:
        """The tasks of the changes that belong to ``owners``, by id, as they are now: after all of the changes, or later.

        What is read cannot be rolled back. A task that is gone is left out.
        """
        if not changes or not owners:
            return {}
        return await self.tasks.find_after({change.task_id for change in changes}, owners, max(change.time for change in changes))

    async def matching(self, changes: Collection[Change], owner_id: ObjectId, condition: RawBSONDocument) -> set[ObjectId]:
        """The ids of those tasks of the changes that meet the filter of a list now: after all of the changes, or later."""
        ids, time = {change.task_id for change in changes}, max(change.time for change in changes)
        return await self.tasks.find_matching(Scope.of_id(owner_id), condition, ids, time)


def _read(changes: Iterable[BSON]) -> Iterator[Change]:
    """The changes that an owner sees: not those of internal fields alone."""
    for each in changes:
        task_id, version = each["documentKey"]["_id"], each.get("version")
        if not isinstance(task_id, ObjectId):  # a script's
            continue
        kind = _kind(each)
        changed = _changed(each) if kind is ChangeKind.updated else ()
        if kind is ChangeKind.updated and not changed and version is None:
            continue
        yield Change(
            kind,
            task_id,
            _time(each.get("changed_at"), each["wallTime"]),
            version if type(version) is int else None,
            changed,
            each["clusterTime"],
            each["_id"]["_data"],
        )


def _kind(change: BSON) -> ChangeKind:
    operation, state = change["operationType"], change.get("state")
    if state == PURGED:
        return ChangeKind.purged
    if state == IN_TRASH:
        return ChangeKind.deleted
    if operation == "insert" or (state == ACTIVE and change.get("actions") == [Action.create]):  # in place of a tombstone
        return ChangeKind.created
    return ChangeKind.restored if operation == "update" and state == ACTIVE else ChangeKind.updated


def _changed(change: BSON) -> tuple[str, ...]:
    if change["operationType"] == "replace":  # by a script: it may have changed everything
        return tuple(name for name in PUBLIC_NAMES.values() if name not in SERVERS_OWN)
    touched = {str(path).partition(".")[0] for path in change["paths"] if path != OWNERS_NAME}
    return tuple(name for stored, name in PUBLIC_NAMES.items() if stored in touched and name not in SERVERS_OWN)


def _time(changed_at: Any, stored_at: datetime) -> datetime:
    return in_utc(changed_at if isinstance(changed_at, datetime) else stored_at)
