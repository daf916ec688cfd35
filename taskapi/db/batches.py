"""Work on very many documents in batches, small enough that no operation delays others."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from taskapi.core.cooperative import background_batch
from taskapi.db.connection import BSON, Collection


async def delete_all(
    collection: Collection, matching: BSON, size: int = 100, *, before: Callable[[list[Any]], Awaitable[None]] | None = None
) -> None:
    """Deletes all matching documents, ``size`` at a time. An interrupted deletion can be repeated.

    ``before`` is awaited with the ids of those that are deleted next.
    """
    is_left = True
    while is_left:
        is_left = False
        async with aclosing(batches_of_ids(collection, matching, size)) as batches:
            async for ids in batches:
                is_left = True
                async with background_batch():
                    if before:
                        await before(ids)
                    await collection.delete_many({**matching, "_id": {"$in": ids}})


async def batches_of_ids(collection: Collection, matching: BSON, size: int) -> AsyncGenerator[list[Any], None]:
    """The ids of the matching documents, at most ``size`` at a time; close the generator if you stop early.

    A document that changes meanwhile may be skipped or come twice. One cursor is used for all batches, because a new query per
    batch would scan past the index entries of deleted documents, which MongoDB removes only later.
    """
    cursor = collection.find(matching, {"_id": 1}, batch_size=size)
    try:
        while found := await cursor.to_list(size):
            yield [each["_id"] for each in found]
    finally:
        await cursor.close()
