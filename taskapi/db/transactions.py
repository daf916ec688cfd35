"""Transactions, and standalone servers, which have none."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pymongo

from taskapi.core.errors import DatabaseUnavailable, TransactionsUnsupported
from taskapi.db.connection import DURABLE, Collection, Session

Result = TypeVar("Result")
TRANSACTION_SECONDS = 15
ABORTING_SECONDS = 2  # more, in which MongoDB is told of the end: otherwise, what was written stays locked for a minute
TOO_LONG = "The database took too long. Try again shortly, or change less at once."
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.005, 0.25  # between two tries


def is_standalone(client: Any) -> bool:
    """Whether the server is not a member of a replica set, and so has no transactions and no snapshots."""
    servers = client.topology_description.server_descriptions().values()
    return any(server.server_type_name == "Standalone" for server in servers)


async def transaction(
    collection: Collection, work: Callable[[Session | None], Awaitable[Result]], *, required: bool = False
) -> Result:
    """Runs ``work`` in one transaction, and retries it when MongoDB asks for that, each time after a longer pause.

    A standalone server has no transactions; there ``work`` runs with ``None`` as its session.

    Raises:
        TransactionsUnsupported: a transaction is ``required``, and the server is standalone.
        DatabaseUnavailable: it took longer than 15 seconds.
    """
    client = collection.database.client
    if is_standalone(client):
        if required:
            raise TransactionsUnsupported
        return await work(None)
    runs = 0

    async def run(session: Session) -> Result:
        nonlocal runs
        if runs:  # whose write was met may take seconds; for MongoDB, this try begins after the pause
            longest = min(FIRST_PAUSE_SECONDS * 2**runs, MAX_PAUSE_SECONDS)
            await asyncio.sleep(random.random() * longest)  # noqa: S311  # nosec B311
        runs += 1
        return await work(session)

    try:
        # The driver would retry for two minutes. The limits apply to each operation and to the whole transaction.
        with pymongo.timeout(TRANSACTION_SECONDS + ABORTING_SECONDS):
            async with asyncio.timeout(TRANSACTION_SECONDS), await client.start_session() as session:
                try:
                    result: Result = await session.with_transaction(run, write_concern=DURABLE)
                except BaseException:
                    if session.in_transaction:  # the end of the block would abort it in the event loop
                        await asyncio.to_thread(session.delegate.end_session)
                    raise
                return result
    except TimeoutError:
        raise DatabaseUnavailable(TOO_LONG) from None
