"""Reads the changes of tasks from MongoDB's change stream, whatever wrote them, and the tasks that have changed.

The stream says which fields a write has set, but not whose task it is: the tasks are read afterwards, those of one batch with
one query, and only those of the owners who listen.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import NamedTuple

import bson
from bson import ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo.errors import OperationFailure

from taskapi.core.errors import DatabaseUnavailable
from taskapi.db.change_streams import RawBatch, StreamsUnsupported, open_stream
from taskapi.db.connection import BSON, Database, Session, acknowledged, undecoded
from taskapi.db.queries import aggregate
from taskapi.db.raw import Raw, decode, raw
from taskapi.db.transactions import is_standalone
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.indexes import ID_INDEX
from taskapi.tasks.storage.reading import WITHOUT_INTERNAL
from taskapi.tasks.storage.scope import Scope

WITH_STATE: Mapping[str, int] = {name: shown for name, shown in WITHOUT_INTERNAL.items() if name not in ("owner_id", "state")}
_NOTHING: BSON = {}
START_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)  # a server that has just started has no time until it has committed something


def _written(name: str) -> BSON:
    return {"$ifNull": [f"$updateDescription.updatedFields.{name}", f"$fullDocument.{name}"]}


# History alone would make a change larger than the task.
PIPELINE: list[BSON] = [
    {"$match": {"operationType": {"$ne": "delete"}}},
    {
        "$project": {
            "operationType": 1,
            "documentKey._id": 1,
            "clusterTime": 1,
            "wallTime": 1,
            "state": _written("state"),
            "version": _written("version"),
            "changed_at": _written("changed_at"),
            "actions": _written("history.action"),  # of a history that was written as a whole
            "paths": {
                "$concatArrays": [
                    {
                        "$map": {
                            "input": {"$objectToArray": {"$ifNull": ["$updateDescription.updatedFields", _NOTHING]}},
                            "in": "$$this.k",
                        }
                    },
                    {"$ifNull": ["$updateDescription.removedFields", []]},
                    {"$ifNull": ["$updateDescription.truncatedArrays.field", []]},
                ]
            },
        }
    },
]


class StoredTask(NamedTuple):
    """A task as it is stored now."""

    owner_id: ObjectId
    state: str
    raw: Raw  # without most internal fields


class ChangeRepository:
    """The changes of tasks of all owners."""

    def __init__(self, database: Database) -> None:
        self._tasks = database.collection(TaskDocument)

    @property
    def are_supported(self) -> bool:
        """Whether MongoDB has change streams, as far as the driver knows: it has asked the server once."""
        return not is_standalone(self._tasks.database.client)

    async def now(self) -> bson.Timestamp:
        """The present place in time. Raises StreamsUnsupported, DatabaseUnavailable.

        All writes that were acknowledged are at or before it, and all that are can be read. The operation time of another read
        concern than ``majority`` may be later than that of a write that cannot be read yet.
        """
        if not self.are_supported:
            raise StreamsUnsupported
        command = {"find": self._tasks.name, "filter": {"_id": None}, "limit": 1, "readConcern": {"level": "majority"}}
        for seconds in START_SECONDS:
            answer = await self._tasks.database.command(command)
            if "operationTime" in answer:
                time: bson.Timestamp = answer["operationTime"]
                return time
            await asyncio.sleep(seconds)
        raise DatabaseUnavailable

    async def collection_id(self) -> bytes:
        """What tells the collection from that of another database, or from an earlier one of this: 16 bytes.

        Without the right to list collections, it is made of the name, and an earlier collection is not told from this one.
        """
        with suppress(OperationFailure, IndexError):
            answer = await self._tasks.database.command("listCollections", filter={"name": self._tasks.name}, cursor={})
            return bytes(answer["cursor"]["firstBatch"][0]["info"]["uuid"])
        return hashlib.blake2b(f"{self._tasks.database.name}.{self._tasks.name}".encode(), digest_size=16).digest()

    def watch(
        self, *, after: str | None = None, since: bson.Timestamp | None = None, await_ms: int | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[RawBatch]]:
        """The writes after a place, as ``PIPELINE`` shows them; see ``open_stream``."""
        start = since and bson.Timestamp(since.time, since.inc + 1)  # the stream begins at a time, inclusive
        return open_stream(self._tasks, PIPELINE, after=after, since=start, await_ms=await_ms)

    async def aggregate_after(
        self, pipeline: Sequence[BSON], time: bson.Timestamp, milliseconds: int, hint: str
    ) -> list[RawBSONDocument]:
        """All results of a pipeline on tasks as they are at ``time`` or later; see ``db.queries.aggregate``.

        What is read cannot be rolled back.
        """
        tasks = undecoded(acknowledged(self._tasks))
        async with self._session_after(time) as session:
            return await aggregate(tasks, pipeline, milliseconds, session, hint=hint)

    async def find_after(
        self, ids: Collection[ObjectId], owners: Collection[ObjectId], time: bson.Timestamp
    ) -> dict[ObjectId, StoredTask]:
        """Those tasks that belong to ``owners``, by id, as they are at ``time`` or later. What is read cannot be rolled back.

        A task without a state, or whose owner is a list, is left out: a script has damaged it, and MongoDB finds it nevertheless.
        """
        tasks = undecoded(acknowledged(self._tasks))
        async with self._session_after(time) as session:
            matching = {"_id": {"$in": list(ids)}, "owner_id": {"$in": list(owners)}}
            cursor = tasks.find(matching, WITH_STATE, session=session, batch_size=len(ids) + 1, hint=ID_INDEX)
            found = [raw(task) for task in await cursor.to_list(None)]
        return {
            stored["_id"]: StoredTask(stored["owner_id"], stored["state"], task)
            for task in found
            if isinstance((stored := decode(task))["owner_id"], ObjectId) and isinstance(stored.get("state"), str)
        }

    async def find_matching(
        self, scope: Scope, condition: RawBSONDocument, ids: Collection[ObjectId], time: bson.Timestamp
    ) -> set[ObjectId]:
        """The ids of those tasks in ``scope`` that meet ``condition`` at ``time`` or later."""
        tasks = acknowledged(self._tasks)
        async with self._session_after(time) as session:
            narrowed = {**scope.outside_trash, "_id": {"$in": list(ids)}, "$and": [condition]}
            cursor = tasks.find(narrowed, {"_id": 1}, session=session, batch_size=len(ids) + 1, hint=ID_INDEX)
            return {task["_id"] for task in await cursor.to_list(None)}

    @asynccontextmanager
    async def _session_after(self, time: bson.Timestamp) -> AsyncIterator[Session]:
        """A session that reads what was there at ``time`` or later."""
        async with await self._tasks.database.client.start_session(causal_consistency=True) as session:
            session.advance_operation_time(time)
            yield session
