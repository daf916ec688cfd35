"""Work on very many documents, in batches so small that no operation keeps others waiting."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from taskapi.core.cooperative import background_batch
from taskapi.db.connection import BSON, Collection


async def delete_all(collection: Collection, matching: BSON, size: int = 100) -> None:
    """Deletes all documents that match, ``size`` at a time: no operation takes long, and each may be the last one."""
    is_left = True
    while is_left:
        is_left = False
        async with aclosing(batches_of_ids(collection, matching, size)) as batches:
            async for ids in batches:
                is_left = True
                async with background_batch():
                    await collection.delete_many({"_id": {"$in": ids}})


async def batches_of_ids(collection: Collection, matching: BSON, size: int) -> AsyncGenerator[list[Any], None]:
    """The ids of the documents that match, at most ``size`` at a time; close it when you leave early.

    One that changes meanwhile may be left out, or come twice. To look for the rest again with each batch would pass over all
    that is gone: MongoDB takes it out of its indexes later.
    """
    cursor = collection.find(matching, {"_id": 1}, batch_size=size)
    try:
        while found := await cursor.to_list(size):
            yield [each["_id"] for each in found]
    finally:
        await cursor.close()
