"""Reads very many documents in one snapshot, with only one batch in memory.

MongoDB keeps a snapshot for five minutes (``minSnapshotHistoryWindowInSeconds``). A slower reader gets the rest from a later
snapshot, starting after the last document read.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from typing import Any

import pymongo
from bson import ObjectId
from pymongo.collation import Collation
from pymongo.errors import OperationFailure, PyMongoError

from taskapi.core.errors import QueryTimeout
from taskapi.db.codes import SNAPSHOT_LOST
from taskapi.db.connection import BSON, Collection, Session
from taskapi.db.transactions import is_standalone

log = logging.getLogger(__name__)

Stages = Callable[[BSON | None], Sequence[BSON]]
"""Returns the pipeline for the documents after a given one in a total order; for all of them if it is None."""

ID_BYTES = 12
IDS_BATCH = 5000
FIRST_BATCH_SECONDS = 20  # below the timeouts of proxies
CURSOR_SECONDS = 600  # of MongoDB's work for one cursor, without the time that it waits for the reader


async def stream_batches(
    collection: Collection, stages: Stages, size: int, collation: Collation | None = None
) -> AsyncGenerator[list[BSON], None]:
    """All results of a pipeline in batches of ``size``; close the generator if you stop early.

    The results come from one snapshot. If MongoDB discards it, the rest comes from a new one, whose pipeline is
    ``stages(last document)``; the order must be one that no write changes. A standalone server has no snapshots: there,
    documents are read as they are at that time.

    Raises:
        QueryTimeout: the first batch takes more than 20 s.
    """
    last: BSON | None = None
    while True:
        begun = last
        try:
            async with aclosing(_part(collection, [(stages(last), size)], collation)) as part:
                async for batch in part:
                    if batch:
                        last = batch[-1]
                        yield batch
            return
        except OperationFailure as error:
            if last is begun:
                raise
            _require_too_old(error, collection)


async def batches_in_first_order(
    collection: Collection,
    ids: Sequence[BSON],
    pipeline: Sequence[BSON],
    by_id: Callable[[list[ObjectId]], Sequence[BSON]],
    size: int,
    collation: Collation | None = None,
) -> AsyncGenerator[list[BSON], None]:
    """As ``stream_batches``, for an order that writes can change: the order at the beginning is kept.

    ``ids`` is a pipeline for the ids of the results of ``pipeline``; they are kept in memory, 12 bytes each. If MongoDB discards
    the snapshot, the rest is read by id, in its current state; deleted documents are left out.
    """
    known, given = bytearray(), 0
    try:
        async with aclosing(_part(collection, [(ids, IDS_BATCH), (pipeline, size)], collation)) as part:
            async for batch in part:
                if not batch:
                    break
                known += b"".join(getattr(found["_id"], "binary", bytes(ID_BYTES)) for found in batch)
            async for batch in part:
                if batch:
                    given += len(batch)
                    yield batch
        return
    except OperationFailure as error:
        if not given:
            raise
        _require_too_old(error, collection)
    for start in range(given * ID_BYTES, len(known), size * ID_BYTES):
        some = bytes(known[start : start + size * ID_BYTES])
        wanted = [ObjectId(some[place : place + ID_BYTES]) for place in range(0, len(some), ID_BYTES)]
        async with aclosing(_part(collection, [(by_id(wanted), size)], None)) as part:
            present = {found["_id"]: found async for batch in part for found in batch}
        yield [present[document_id] for document_id in wanted if document_id in present]


def _require_too_old(error: OperationFailure, collection: Collection) -> None:
    if error.code not in SNAPSHOT_LOST:
        raise error
    log.warning("MongoDB discarded a snapshot of %s; the rest is read from a later one", collection.name)


async def _part(
    collection: Collection, pipelines: Sequence[tuple[Sequence[BSON], int]], collation: Collation | None
) -> AsyncGenerator[list[BSON], None]:
    """The results of pipelines in one snapshot, each in batches of its size and followed by an empty batch."""
    client = collection.database.client
    session = None if is_standalone(client) else await client.start_session(snapshot=True, causal_consistency=False)
    cursor: Any = None
    deadline: float | None = asyncio.get_running_loop().time() + FIRST_BATCH_SECONDS
    fetching: asyncio.Future[list[BSON]] | None = None
    try:
        for pipeline, size in pipelines:
            options: BSON = {"batchSize": size, "allowDiskUse": True, "collation": collation}
            cursor = collection.aggregate(list(pipeline), session=session, **options)
            while True:
                # The timeout of ordinary operations would apply to all batches together: the driver sends it as maxTimeMS.
                with pymongo.timeout(CURSOR_SECONDS):
                    fetching = asyncio.ensure_future(cursor.to_list(size))
                async with asyncio.timeout_at(deadline):
                    batch = await asyncio.shield(fetching)
                if pipeline is pipelines[-1][0]:
                    deadline = None
                yield batch
                if not batch:
                    break
    except TimeoutError:
        raise QueryTimeout from None
    finally:
        # The reader may have been cancelled, which would interrupt each await here: a task of its own closes the cursor.
        closing = asyncio.create_task(_close(cursor, session, fetching))
        _closing.add(closing)
        closing.add_done_callback(_closing.discard)
        await asyncio.shield(closing)


_closing: set[asyncio.Task[None]] = set()


async def _close(cursor: Any, session: Session | None, fetching: Awaitable[Any] | None) -> None:
    with suppress(PyMongoError):
        if fetching is not None:
            await fetching  # a cursor and its session can be used by one thread at a time
    if cursor is not None:
        with suppress(PyMongoError):
            await cursor.close()
    if session is not None:
        await session.end_session()
