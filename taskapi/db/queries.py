"""Aggregation queries with a time limit of their own."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import pymongo
from pymongo.collation import Collation
from pymongo.errors import OperationFailure

from taskapi.core.errors import DatabaseUnavailable
from taskapi.db.codes import BAD_VALUE
from taskapi.db.connection import BSON, GRACE_MS, CollectionOf, Session

Document = TypeVar("Document", bound=Mapping[str, Any])


async def aggregate(
    collection: CollectionOf[Document],
    pipeline: Sequence[BSON],
    milliseconds: int,
    session: Session | None = None,
    collation: Collation | None = None,
    hint: str | None = None,
) -> list[Document]:
    """All results of a pipeline. Texts compare by ``collation``, or by code points without one.

    ``hint`` names the index to use. If it does not exist, MongoDB chooses.

    Raises:
        ExecutionTimeout: the server aborted the query after ``milliseconds``; ``to_domain_error`` translates it.
        DatabaseUnavailable: the server did not answer in time.
    """
    try:
        # A driver timeout would replace maxTimeMS by the time left, and either the driver or the server could time out first.
        # Zero disables it, so the server aborts the query and has time to report that.
        with pymongo.timeout(0):
            async with asyncio.timeout((milliseconds + GRACE_MS) / 1000):
                options: BSON = {"batchSize": 1000, "maxTimeMS": milliseconds, "collation": collation}
                if hint is not None:
                    options["hint"] = hint
                cursor = collection.aggregate(list(pipeline), session=session, **options)
                return await cursor.to_list(None)
    except TimeoutError:
        raise DatabaseUnavailable from None
    except OperationFailure as error:
        if hint is None or not lacks_index(error):
            raise
    return await aggregate(collection, pipeline, milliseconds, session, collation)


def lacks_index(error: OperationFailure) -> bool:
    """Whether a query failed because its hint names no index: one not built yet, or dropped by an operator."""
    return error.code == BAD_VALUE and "hint provided does not correspond to an existing index" in str(error)
