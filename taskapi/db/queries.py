"""Queries by pipelines, with a limit of their own."""

import asyncio
from collections.abc import Sequence

import pymongo
from pymongo.collation import Collation
from pymongo.errors import OperationFailure

from taskapi.core.errors import DatabaseUnavailable
from taskapi.db.connection import BSON, GRACE_MS, Collection, Session

BAD_VALUE = 2


async def aggregate(
    collection: Collection,
    pipeline: Sequence[BSON],
    milliseconds: int,
    session: Session | None = None,
    collation: Collation | None = None,
    hint: str | None = None,
) -> list[BSON]:
    """All results of a pipeline; texts compare as ``collation`` says, by their code points without one.

    ``hint`` names the index to begin with. While there is none of that name, MongoDB chooses.

    Raises:
        ExecutionTimeout: the server took longer than ``milliseconds`` and gave up; ``to_domain_error`` knows it.
        DatabaseUnavailable: it did not even say so.
    """
    try:
        # The driver's deadline for an operation replaces maxTimeMS by what is left of it, and who is first to notice,
        # driver or server, is a matter of luck. Zero takes it off: the server cuts the query, and has time to say so.
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
    """Whether a query failed because its hint names no index: it has not been built yet, or an operator has dropped it."""
    return error.code == BAD_VALUE and "hint provided does not correspond to an existing index" in str(error)
