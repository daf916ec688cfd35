"""Reading very many documents: all as they were at one moment, in the memory of one batch."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import suppress
from typing import Any

import pymongo
from beanie import Document
from pymongo.collation import Collation
from pymongo.errors import PyMongoError

from taskapi.database import BSON, Session, collection, is_standalone
from taskapi.errors import QueryTimeout

FIRST_BATCH_SECONDS = 20  # below the time-outs of proxies
CURSOR_SECONDS = 600  # that MongoDB may work for one cursor, the waits for its reader not counted


async def batches(
    document: type[Document], pipeline: Sequence[BSON], size: int, collation: Collation | None = None
) -> AsyncGenerator[list[BSON], None]:
    """All results of a pipeline, as they were at one moment, in batches of ``size``; close it when you leave early.

    A standalone server has no snapshots; there they are read as they are when their turn comes.

    Raises:
        QueryTimeout: there is no first batch within 20 s.
    """
    client = collection(document).database.client
    session = None if is_standalone(client) else await client.start_session(snapshot=True, causal_consistency=False)
    options: BSON = {"batchSize": size, "allowDiskUse": True, "collation": collation}
    cursor = collection(document).aggregate(list(pipeline), session=session, **options)
    seconds: float | None = FIRST_BATCH_SECONDS
    fetching: asyncio.Future[list[BSON]] | None = None
    try:
        while True:
            # The time-out of ordinary operations would hold for all batches together: the driver sends it as maxTimeMS.
            with pymongo.timeout(CURSOR_SECONDS):
                fetching = asyncio.ensure_future(cursor.to_list(size))
            async with asyncio.timeout(seconds):
                batch = await asyncio.shield(fetching)
            if not batch:
                return
            yield batch
            seconds = None
    except TimeoutError:
        raise QueryTimeout from None
    finally:
        # Whoever reads may have been cancelled, and would be again at each step of this.
        closing = asyncio.create_task(_close(cursor, session, fetching))
        _closing.add(closing)
        closing.add_done_callback(_closing.discard)
        await asyncio.shield(closing)


_closing: set[asyncio.Task[None]] = set()


async def _close(cursor: Any, session: Session | None, fetching: Awaitable[Any] | None) -> None:
    with suppress(PyMongoError):
        if fetching is not None:
            await fetching  # a cursor and its session serve one thread at a time
    with suppress(PyMongoError):
        await cursor.close()
    if session is not None:
        await session.end_session()
