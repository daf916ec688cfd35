"""Changes tasks. Changes that arrive together are written at once, and each caller gets the outcome of their own.

A group is one bulk write, and a query before it or after it, or both::

    PATCH 1 ─┐                    ┌─ 1 changed, as worked out before ─▶ the answer of 1
    PATCH 2 ─┼─ query 1 ─▶ bulk ──┼─ 2 changed ─▶ query 2 ─▶ the answer of 2
    PATCH 3 ─┘            write   └─ 3 matched nothing ─▶ a write of its own decides

Change 1 sets only fields that are stored as sent: see ``direct_changes``. The others are update pipelines.

A write waits for a transaction that has changed its task. A group that takes long gives way to the next one, and for a while
those whose tasks are in it change theirs one by one: nobody keeps the changes of others waiting for long.

If the last entry in the history of a task that was read afterwards is not that of the change, the task has changed again: by
another change of the group, or another worker. Then a second query reads the whole history, which tells how the task was.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import bson
from bson import ObjectId
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo import ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError, PyMongoError

from taskapi.core.data_loader import DataLoader
from taskapi.core.errors import DatabaseUnavailable
from taskapi.db.codes import FAILED_VALIDATION, NOT_SINGLE_VALUE_FIELD
from taskapi.db.connection import BSON, Database, Session
from taskapi.db.errors import lacks_durability, to_write_error
from taskapi.tasks.storage.direct_changes import READ, DirectChange, direct_change
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.history import Versions, at_version, is_of, undo
from taskapi.tasks.storage.indexes import ID_INDEX
from taskapi.tasks.storage.pipelines import Write
from taskapi.tasks.storage.reading import PUBLIC
from taskapi.tasks.storage.scope import Scope, outside_trash_of, unpurged_of

MAX_UPDATED = 24  # changes per write; more of them leave MongoDB idle while few callers are answered
WRITES = 2  # at the same time: while one waits for the journal, the next is on its way
APART_SECONDS = 10.0
MAX_SHARED_BYTES = 65_536  # of one change; a larger one is written alone, so that a group is one message to MongoDB
# A bulk write says how many of its filters matched, not which. With ``upsert``, one that matches nothing is an error with its
# place in the list: MongoDB cannot infer a new document, because the filter demands a value of ``_id`` and one within it.
NEVER_INSERTED: BSON = {"_id.none": None}
NO_MATCH = NOT_SINGLE_VALUE_FIELD  # "cannot infer query fields to set"
WRITTEN_ALONE = {NO_MATCH, FAILED_VALIDATION}  # a write of its own decides
WITH_LAST_ENTRY: BSON = {**PUBLIC, "owner_id": 1, "history": {"$slice": -1}}
WITH_HISTORY: BSON = {**PUBLIC, "owner_id": 1, "history": 1}

Outcome = BSON | Exception | None


@dataclass(frozen=True, slots=True, eq=False)
class _Change:
    scope: Scope
    matching: BSON
    versions: Versions
    write: Write

    @property
    def task_id(self) -> ObjectId:
        found: ObjectId = self.matching["_id"]
        return found

    def encode(self, direct: DirectChange | None) -> tuple[UpdateOne, int]:
        """The change as a part of a bulk write, and its size in bytes. It does not match a task with a damaged version."""
        if direct is not None:
            matching = _raw({**self.matching, **direct.unchanged, **NEVER_INSERTED})
            update = _raw(direct.update)
            return UpdateOne(matching, update, upsert=True, hint=ID_INDEX), len(matching.raw) + len(update.raw)
        versions = {} if self.versions is None else {"version": {"$in": sorted(self.versions)}}  # an upsert allows no $expr
        matching = _raw({**self.matching, **versions, **NEVER_INSERTED})
        stages = [_raw(stage) for stage in self.write.pipeline]
        return UpdateOne(matching, stages, upsert=True, hint=ID_INDEX), sum(len(each.raw) for each in (matching, *stages))


class TaskUpdater:
    """Changes tasks for one application, each as atomically and durably as with a write of its own."""

    def __init__(self, database: Database) -> None:
        self._tasks = database.collection(TaskDocument)
        self._outcomes = DataLoader(self._update, WRITES, MAX_UPDATED, self._part)
        self._apart: dict[Scope, float] = {}  # whose changes are written one by one, and until when

    async def update(
        self, scope: Scope, matching: BSON, versions: Versions, write: Write, session: Session | None = None
    ) -> BSON | None:
        """Changes the task of ``scope`` that ``matching`` finds, at one of ``versions``. Returns it as stored after that.

        Returns None if there is none, or if it has been erased right after the change: nobody can tell the order of the two.

        Raises what the driver would raise for a write of its own. If it says that the outcome is unknown, the task may have
        been changed.
        """
        change = _Change(scope, matching, versions, write)
        if session is not None or self._apart.get(scope, 0.0) > time.monotonic():
            return await self._write(change, session)
        outcome = await self._outcomes.get(change)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _part(self, slow: Collection[_Change]) -> None:
        now = time.monotonic()
        self._apart = {scope: until for scope, until in self._apart.items() if until > now}
        self._apart |= {change.scope: now + APART_SECONDS for change in slow}

    async def _write(self, change: _Change, session: Session | None = None) -> BSON | None:
        return await self._tasks.find_one_and_update(
            {**change.matching, **at_version(change.versions)},
            change.write.pipeline,
            PUBLIC,
            return_document=ReturnDocument.AFTER,
            session=session,
        )

    async def _update(self, changes: Collection[_Change]) -> Mapping[_Change, Outcome]:
        if len(changes) == 1:
            return {change: await self._write(change) for change in changes}
        direct = await self._direct(changes)
        outcomes, together, alone = dict[_Change, Outcome](), dict[_Change, UpdateOne](), list[_Change]()
        for change in changes:
            try:
                statement, size = change.encode(direct.get(change))
            except (BSONError, OverflowError) as error:
                outcomes[change] = error
                continue
            if size > MAX_SHARED_BYTES:
                alone.append(change)
            else:
                together[change] = statement
        for found in await asyncio.gather(self._write_together(together, direct), *map(self._write_alone, alone)):
            outcomes |= found
        return outcomes

    async def _direct(self, changes: Collection[_Change]) -> dict[_Change, DirectChange]:
        """The changes that can be worked out before. Of several of one task, only the first could meet it as it was read."""
        counts = Counter(change.task_id for change in changes)
        possible = [change for change in changes if change.write.values is not None and counts[change.task_id] == 1]
        tasks = await self._find(possible, outside_trash_of(change.scope for change in possible), READ)
        worked_out = ((change, direct_change(task, change.versions, change.write)) for change, task in tasks.items())
        return {change: direct for change, direct in worked_out if direct is not None}

    async def _write_alone(self, change: _Change) -> dict[_Change, Outcome]:
        try:
            return {change: await self._write(change)}
        except PyMongoError as error:
            return {change: error}

    async def _write_together(
        self, changes: Mapping[_Change, UpdateOne], direct: Mapping[_Change, DirectChange]
    ) -> dict[_Change, Outcome]:
        written = list(changes)
        if len(written) < 2:
            return await self._write_alone(*written) if written else {}
        unmatched, outcomes = list[_Change](), dict[_Change, Outcome]()
        try:
            result = await self._tasks.bulk_write(list(changes.values()), ordered=False)
            matched = result.matched_count
        except BulkWriteError as error:
            if lacks_durability(error):
                return dict.fromkeys(written, error)
            faults = {written[each["index"]]: each for each in error.details["writeErrors"]}
            unmatched = [change for change, fault in faults.items() if fault["code"] in WRITTEN_ALONE]
            outcomes = {change: to_write_error(fault) for change, fault in faults.items() if fault["code"] not in WRITTEN_ALONE}
            written = [change for change in written if change not in faults]
            matched = error.details["nMatched"]
        except PyMongoError as error:
            return dict.fromkeys(written, error)
        if matched != len(written):  # MongoDB does not say which of them were carried out
            return outcomes | dict.fromkeys([*written, *unmatched], DatabaseUnavailable())
        outcomes |= {change: direct[change].after for change in written if change in direct}
        others = [change for change in written if change not in direct]
        for found in await asyncio.gather(self._read(others), *map(self._write_alone, unmatched)):
            outcomes |= found
        return outcomes

    async def _read(self, written: Sequence[_Change]) -> dict[_Change, Outcome]:
        try:
            tasks = await self._find(written, outside_trash_of(change.scope for change in written), WITH_LAST_ENTRY)
            outcomes: dict[_Change, Outcome] = {
                change: task
                for change, task in tasks.items()
                if any(is_of(entry, change.write.added) for entry in task.get("history", ()))
            }
            overtaken = [change for change in written if change not in outcomes]
            tasks = await self._find(overtaken, unpurged_of(change.scope for change in overtaken), WITH_HISTORY)
            return outcomes | {each: _as_written(tasks.get(each), each.write.added) for each in overtaken}
        except PyMongoError as error:
            return dict.fromkeys(written, error)

    async def _find(self, changes: Sequence[_Change], matching: BSON, projection: BSON) -> dict[_Change, BSON]:
        """The tasks of ``changes`` as they are now, if they match."""
        if not changes:
            return {}
        ids = {"$in": [change.task_id for change in changes]}  # takes MongoDB a third less time than a branch for each task
        found = defaultdict[ObjectId, list[BSON]](list)  # on a sharded cluster, tasks of several owners may have one id
        cursor = self._tasks.find({**matching, "_id": ids}, projection, batch_size=len(changes) + 1, hint=ID_INDEX)
        for task in await cursor.to_list(None):
            found[task["_id"]].append(task)
        return {change: task for change in changes for task in found[change.task_id] if change.scope.covers(task)}


def _raw(document: BSON) -> RawBSONDocument:
    return RawBSONDocument(bson.encode(document))


def _as_written(task: BSON | None, added: BSON) -> BSON | None:
    """A task as it was after the write that ``added`` an entry.

    As it is now, if that entry has been dropped since, or a script has damaged a later one.

    The entries of two changes of a task look the same if their requests have one id, which callers may choose, and came in one
    millisecond. Then both get the later state, as if they had been answered a moment later.
    """
    if task is None:
        return None
    history: list[Any] = task.get("history", [])
    for number in reversed(range(len(history))):
        if is_of(history[number], added):
            with suppress(KeyError, TypeError):
                return {**undo(task, history[number + 1 :]), "version": history[number]["version"]}
    return task
