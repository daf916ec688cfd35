"""Transactions, and servers that have none."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pymongo

from taskapi.core.errors import DatabaseUnavailable, TransactionsUnsupported
from taskapi.db.connection import DURABLE, Collection, Session

Result = TypeVar("Result")
TRANSACTION_SECONDS = 15


def is_standalone(client: Any) -> bool:
    """Whether the server is no member of a replica set: it has no transactions and no snapshots."""
    servers = client.topology_description.server_descriptions().values()
    return any(server.server_type_name == "Standalone" for server in servers)


async def transaction(
    collection: Collection, work: Callable[[Session | None], Awaitable[Result]], *, required: bool = False
) -> Result:
    """Runs ``work`` in one transaction, again when MongoDB asks for it.

    A standalone server has no transactions; there ``work`` runs with ``None`` as its session.

    Raises:
        TransactionsUnsupported: one is ``required``, and the server is such a one.
    """
    client = collection.database.client
    if is_standalone(client):
        if required:
            raise TransactionsUnsupported
        return await work(None)
    try:
        # The driver would go on for two minutes. The limits hold for each operation and for all of it together.
        with pymongo.timeout(TRANSACTION_SECONDS):
            async with asyncio.timeout(TRANSACTION_SECONDS), await client.start_session() as session:
                result: Result = await session.with_transaction(work, write_concern=DURABLE)
                return result
    except TimeoutError:
        raise DatabaseUnavailable from None
