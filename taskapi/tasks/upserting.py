"""Writing the lines of an import: those without a key are new tasks, the others meet the task that has their key."""

from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from datetime import datetime
from tempfile import SpooledTemporaryFile
from typing import Protocol

import bson
from bson import ObjectId
from bson.codec_options import CodecOptions
from pymongo import InsertOne, UpdateOne
from pymongo.errors import BulkWriteError

from taskapi.clock import utc_now
from taskapi.database import BSON, DUPLICATE_KEY, collection, lacks_durability
from taskapi.errors import Contended
from taskapi.logs import request_id
from taskapi.tasks.changes import literal, update
from taskapi.tasks.documents import TaskDocument
from taskapi.tasks.history import at_version
from taskapi.tasks.imported import Line, after, changed, complete
from taskapi.tasks.reading import version_of
from taskapi.tasks.service import LookUp, settle_new
from taskapi.tasks.transfer_schemas import ImportReport
from taskapi.tasks.writing import MOST_ATTEMPTS, PUBLIC
from taskapi.turns import Turns
from taskapi.unicode import nfc, spellings
from taskapi.users.schemas import UserRead

IN_MEMORY = 4 * 1024 * 1024  # bytes of drafts; more go to a file
AWARE = CodecOptions[BSON](tz_aware=True)


class Writer(Protocol):
    """What the lines of an import are given to."""

    async def write(self, lines: list[Line], report: ImportReport) -> None:
        """Writes lines of which no two have the same key, and counts them in ``report``."""


async def _known(owner: UserRead, lines: Iterable[Line]) -> dict[str | None, BSON]:
    """The tasks of ``owner`` that have the keys of these lines, by key in NFC.

    Version 1.2 and before stored keys as they were sent. Of two tasks whose keys are equal in NFC, the one stored so counts.
    """
    keys = [key for line in lines if line.data.key is not None for key in spellings(line.data.key)]
    if not keys:
        return {}
    cursor = collection(TaskDocument).find({"owner.id": owner.object_id, "key": {"$in": keys}}, PUBLIC)
    keyed = [
        (key, complete(task, owner))
        for task in await cursor.to_list(None)
        # A script may have given a task several keys, and the index of keys knows each.
        for key in (task["key"] if isinstance(task["key"], list) else [task["key"]])
        if isinstance(key, str)
    ]
    return {nfc(key): task for key, task in sorted(keyed, key=lambda each: each[0] == nfc(each[0]))}


class Upsert(AbstractContextManager["Upsert"]):
    """Writes with one look at the tasks that have the keys, and one bulk write. The unique index decides who was first."""

    def __init__(self, owner: UserRead, look_up: LookUp) -> None:
        self._owner = owner
        self._look_up = look_up

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""

    async def write(self, lines: list[Line], report: ImportReport) -> None:
        """As ``Writer``. Raises Contended when others were faster, a hundred times."""
        for _ in range(MOST_ATTEMPTS):
            lines = await self._attempt(lines, report)
            if not lines:
                break
        else:
            raise Contended
        await settle_new(self._owner, self._look_up)

    async def _attempt(self, lines: list[Line], report: ImportReport) -> list[Line]:
        """Writes once; the lines that somebody else came before."""
        stored, turns, now = await _known(self._owner, lines), Turns(), utc_now()
        inserts, updates = list[Line](), dict[ObjectId, Line]()
        operations = list[InsertOne[BSON] | UpdateOne]()
        for line in lines:
            await turns.give_way()
            task = stored.get(line.key)
            if task is None:
                inserts.append(line)
                operations.append(InsertOne(line.task))
            elif task["_id"] == line.task["_id"]:  # an earlier run of this very request made it
                report.created += 1
            elif fields := changed(line, task):
                updates[task["_id"]] = line
                looked_at = {"_id": task["_id"], "owner.id": self._owner.object_id, **at_version([version_of(task)])}
                operations.append(UpdateOne(looked_at, update(literal(fields), self._owner, now=now)))
            else:
                report.unchanged += 1
        taken, matched = await _bulk(operations)
        landed = updates.keys() if matched == len(updates) else await self._landed(updates, now)
        report.created += len(inserts) - len(taken)
        report.updated += len(landed)
        return [line for line in inserts if line.key in taken] + [line for at, line in updates.items() if at not in landed]

    async def _landed(self, updates: Iterable[ObjectId], now: datetime) -> Collection[ObjectId]:
        """Those of our updates of this moment that met their version: a bulk write tells their number alone."""
        mark = {"at": now, "request_id": request_id.get(), "by.id": self._owner.object_id}
        marked = {"_id": {"$in": list(updates)}, "history": {"$elemMatch": mark}}
        return {task["_id"] for task in await collection(TaskDocument).find(marked, {"_id": 1}).to_list(None)}


async def _bulk(operations: list[InsertOne[BSON] | UpdateOne]) -> tuple[set[str], int]:
    """The keys that somebody else has taken meanwhile, and how many updates met their version."""
    if not operations:
        return set(), 0
    try:
        result = await collection(TaskDocument).bulk_write(operations, ordered=False)
    except BulkWriteError as error:
        faults = error.details["writeErrors"]
        if lacks_durability(error) or any(fault["code"] != DUPLICATE_KEY for fault in faults):
            raise
        # What meets its own _id was written by an earlier run of this request.
        return {fault["keyValue"]["key"] for fault in faults if "key" in fault["keyValue"]}, int(error.details["nMatched"])
    return set(), result.matched_count


class Rehearsal(AbstractContextManager["Rehearsal"]):
    """Writes nothing, and counts what ``Upsert`` would do. What the lines make of tasks with keys is kept in a file."""

    def __init__(self, owner: UserRead) -> None:
        self._owner = owner
        self._drafts = SpooledTemporaryFile[bytes](max_size=IN_MEMORY)
        self._places: dict[str, tuple[int, int]] = {}

    def __exit__(self, *_: object) -> None:
        """The file goes."""
        self._drafts.close()

    async def write(self, lines: list[Line], report: ImportReport) -> None:
        """As ``Writer``, but for the writing."""
        stored, turns = await _known(self._owner, lines), Turns()
        for line in lines:
            await turns.give_way()
            task = self._draft(line.key) or stored.get(line.key)
            if task is None:
                report.created += 1
                self._keep(line.key, line.task)
            elif fields := changed(line, task):
                report.updated += 1
                self._keep(line.key, after(task, fields))
            else:
                report.unchanged += 1

    def _draft(self, key: str | None) -> BSON | None:
        place = self._places.get(key or "")
        if place is None:
            return None
        self._drafts.seek(place[0])
        return bson.decode(self._drafts.read(place[1]), AWARE)

    def _keep(self, key: str | None, task: BSON) -> None:
        if key is not None:
            start = self._drafts.seek(0, 2)
            self._places[key] = (start, self._drafts.write(bson.encode(task)))
