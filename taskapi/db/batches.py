"""Work on very many documents in batches, small enough that no operation delays others."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence, Set
from contextlib import aclosing
from typing import Any

from pymongo.errors import OperationFailure

from taskapi.core.cooperative import background_batch
from taskapi.db.connection import BSON, Collection
from taskapi.db.errors import UNWRITABLE


async def delete_all(
    collection: Collection,
    matching: BSON,
    size: int = 100,
    *,
    order: BSON | None = None,
    before: Callable[[list[Any]], Awaitable[None]] | None = None,
) -> None:
    """Deletes all matching documents, ``size`` at a time. An interrupted deletion can be repeated.

    ``order`` is that of an index, if MongoDB could choose a worse one. ``before`` is awaited with the ids of those that are
    deleted next.
    """
    is_left = True
    while is_left:
        is_left = False
        async with aclosing(batches_of_ids(collection, matching, size, order)) as batches:
            async for ids in batches:
                is_left = True
                async with background_batch():
                    if before:
                        await before(ids)
                    await collection.delete_many({**matching, "_id": {"$in": ids}})


async def batches_of_ids(
    collection: Collection, matching: BSON, size: int, order: BSON | None = None
) -> AsyncGenerator[list[Any], None]:
    """The ids of the matching documents, at most ``size`` at a time; close the generator if you stop early.

    A document that changes meanwhile may be skipped or come twice. One cursor is used for all batches, because a new query per
    batch would scan past the index entries of deleted documents, which MongoDB removes only later.
    """
    cursor = collection.find(matching, {"_id": 1}, batch_size=size, sort=list(order.items()) if order else None)
    try:
        while found := await cursor.to_list(size):
            yield [each["_id"] for each in found]
    finally:
        await cursor.close()


async def write_all(
    write: Callable[[Sequence[Any]], Awaitable[int]], ids: Sequence[Any], refused: Set[int] = UNWRITABLE
) -> tuple[int, list[Any]]:
    """Writes the documents with these ids, although MongoDB refuses some of them with a code of ``refused``.

    ``write`` is called with all ids, and if one is refused, with each half of them. Returns the sum of its numbers, and the ids
    of those that cannot be written.
    """
    try:
        return await write(ids), []
    except OperationFailure as error:
        if error.code not in refused:
            raise
    if len(ids) == 1:
        return 0, list(ids)
    half = len(ids) // 2
    first, second = await write_all(write, ids[:half], refused), await write_all(write, ids[half:], refused)
    return first[0] + second[0], first[1] + second[1]
