"""Reads a change stream of MongoDB in batches. Knows no domain.

Each stream has a thread of its own, because it waits nearly all the time: in the pools of ``driver_threads``, it would keep a
thread from everybody else. The thread hands over what has come since the last hand-over, so many changes take few wake-ups.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import bson
from pymongo.errors import OperationFailure, PyMongoError

from taskapi.core.errors import NeedsReplicaSet
from taskapi.db.codes import (
    CAPPED_POSITION_LOST,
    CHANGE_STREAM_FATAL,
    CHANGE_STREAM_HISTORY_LOST,
    INVALID_RESUME_TOKEN,
    ONLY_ON_REPLICA_SETS,
)
from taskapi.db.connection import BSON, Collection, acknowledged, driver_collection

log = logging.getLogger(__name__)

AWAIT_MS = 1000  # that MongoDB waits for a change, at most, before it answers that there is none
MAX_WAITING = 5000  # changes that have been read, but not taken: then no more are read
MAX_BATCH = 200  # less than half of what may wait for a follower of events
LOST = {
    CAPPED_POSITION_LOST,
    INVALID_RESUME_TOKEN,
    CHANGE_STREAM_FATAL,  # the token is not in the oplog
    CHANGE_STREAM_HISTORY_LOST,
}
ENDS = {"drop", "rename", "dropDatabase", "invalidate"}


class StreamsUnsupported(NeedsReplicaSet):
    """MongoDB is standalone: it has no change streams."""

    code = "change_streams_unsupported"
    detail = "Events need a MongoDB replica set; this server's MongoDB is standalone."


class HistoryLost(Exception):
    """The stream cannot go on from the requested place: the oplog does not go back that far, or the collection was dropped."""


class RawBatch(NamedTuple):
    """Changes as MongoDB sends them, in their order, and the resume token (its ``_data``) of the place behind them."""

    changes: list[BSON]
    token: str


def time_of(token: str) -> bson.Timestamp:
    """The time of the place that a resume token names: its first value, behind a byte for its type (MongoDB's KeyString)."""
    return bson.Timestamp(int(token[2:10], 16), int(token[10:18], 16))


@asynccontextmanager
async def open_stream(
    collection: Collection,
    pipeline: Sequence[BSON],
    *,
    after: str | None = None,
    since: bson.Timestamp | None = None,
    await_ms: int | None = None,
) -> "AsyncIterator[AsyncIterator[RawBatch]]":
    """The changes of a collection, after the place of a resume token or from a time on; without both, from now on.

    MongoDB waits ``await_ms`` for a change, and for as long the stream may keep its connection after the block.

    Batches may be empty: their tokens move on while other collections change. Iterating over them

    Raises:
        StreamsUnsupported: MongoDB is standalone.
        HistoryLost: there is no way to go on from that place.
        PyMongoError: MongoDB cannot be reached; a new stream after the token of the last batch misses nothing.
    """
    reader = _Reader(collection, pipeline, after, since, AWAIT_MS if await_ms is None else await_ms)
    reader.start()
    try:
        yield reader.batches()
    finally:
        reader.stop()


class _Reader:
    """A thread that reads, and what it has read."""

    def __init__(
        self,
        collection: Collection,
        pipeline: Sequence[BSON],
        after: str | None,
        since: bson.Timestamp | None,
        await_ms: int = AWAIT_MS,
    ) -> None:
        self._collection, self._pipeline = driver_collection(acknowledged(collection)), list(pipeline)
        self._start: BSON = {"resume_after": {"_data": after}} if after else {"start_at_operation_time": since}
        self._await_ms = await_ms
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._lock = threading.Lock()
        self._taken = threading.Event()
        self._stopping = False
        self._waiting: list[BSON] = []
        self._token: str | None = None  # of the place behind what waits; None if that was handed over
        self._error: Exception | None = None

    def start(self) -> None:
        threading.Thread(target=self._run, name="mongodb-changes", daemon=True).start()

    def stop(self) -> None:
        """Has the thread end when MongoDB answers next. Nobody waits for that."""
        self._stopping = True
        self._taken.set()

    async def batches(self) -> AsyncIterator[RawBatch]:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            with self._lock:
                changes, token, error = self._waiting, self._token, self._error
                self._waiting, self._token = [], None
            self._taken.set()
            if token is not None:
                for start in range(0, len(changes), MAX_BATCH):
                    some = changes[start : start + MAX_BATCH]
                    is_last = start + MAX_BATCH >= len(changes)
                    yield RawBatch(some, token if is_last else some[-1]["_id"]["_data"])
                if not changes:
                    yield RawBatch([], token)
            if error is not None:
                raise error

    def _run(self) -> None:
        try:
            self._read()
        except OperationFailure as error:
            if error.code == ONLY_ON_REPLICA_SETS:
                self._end(StreamsUnsupported())
            elif error.code in LOST or error.has_error_label("NonResumableChangeStreamError"):
                self._end(HistoryLost())
            else:
                self._end(error)
        except Exception as error:
            self._end(error)

    def _read(self) -> None:
        timeout = self._collection.database.client.options.timeout  # in seconds; None or 0: no limit
        patience = min(self._await_ms, int(timeout * 500)) if timeout else self._await_ms  # then the answer comes in time
        with self._collection.watch(self._pipeline, max_await_time_ms=patience, **self._start) as stream:
            self._hand_over(None, stream.resume_token)
            while not self._stopping:
                change = stream.try_next()
                if change is not None and change["operationType"] in ENDS:
                    raise HistoryLost
                self._hand_over(change, stream.resume_token)
                while len(self._waiting) >= MAX_WAITING and not self._stopping:
                    self._taken.clear()
                    if len(self._waiting) >= MAX_WAITING and not self._stopping:
                        self._taken.wait()

    def _hand_over(self, change: Any, token: Any) -> None:
        if token is None:
            return
        with self._lock:
            if change is not None:
                self._waiting.append(change)
            self._token = token["_data"]
        self._wake()

    def _end(self, error: Exception) -> None:
        if not isinstance(error, (PyMongoError, HistoryLost, StreamsUnsupported)) and not self._stopping:
            log.error("a change stream ended: %s", type(error).__name__, exc_info=error)
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if not self._stopping and not self._arrived.is_set():
            try:
                self._loop.call_soon_threadsafe(self._arrived.set)
            except RuntimeError:  # the event loop was closed
                self._stopping = True
