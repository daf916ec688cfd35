"""The usual kind of migration: it updates all documents that match a filter, in batches, each in one atomic write."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import pymongo
from beanie import Document

from taskapi.db.batches import write_all
from taskapi.db.codes import DUPLICATE_KEY
from taskapi.db.connection import BSON, Collection, Database
from taskapi.db.errors import UNWRITABLE
from taskapi.db.migrations.step import Migration, Phase, Progress

log = logging.getLogger(__name__)

BATCH = 500
READ_SECONDS, WRITE_SECONDS = 3600, 60  # for one batch; to find it may need a look at all documents
REFUSED = UNWRITABLE | {DUPLICATE_KEY}  # because of one document: the others can be written
MAX_NAMED = 10


class Change(TypedDict):
    """Which documents to update, and how."""

    matching: BSON
    update: BSON | list[BSON]


def store_missing(expressions: Mapping[str, Any]) -> Change:
    """The change that stores the fields that a document lacks. A field that it has stays, even if its value is null."""
    absent: list[BSON] = [{name: {"$exists": False}} for name in expressions]
    values = {
        name: {"$cond": [{"$eq": [{"$type": f"${name}"}, "missing"]}, value, f"${name}"]} for name, value in expressions.items()
    }
    return {"matching": {"$or": absent}, "update": [{"$set": values}]}


@dataclass(frozen=True, slots=True)
class Backfill:
    """The documents that match ``matching``, and their ``update``, after which they do not match it any more."""

    document: type[Document]
    matching: BSON
    update: BSON | list[BSON]

    async def count_left(self, database: Database) -> int:
        """The number of documents that match."""
        with pymongo.timeout(READ_SECONDS):
            return await database.collection(self.document).count_documents(self.matching)

    async def run(self, database: Database, progress: Progress) -> None:
        """Updates the documents that match. Those that MongoDB refuses to write are named in the log, and stay as they are."""
        collection = database.collection(self.document)
        total = await self.count_left(database)
        await progress(total)
        if total == 0:
            return
        cursor = collection.find(self.matching, {"_id": 1}, batch_size=BATCH)
        skipped: list[Any] = []
        try:
            while True:
                with pymongo.timeout(READ_SECONDS):
                    found = await cursor.to_list(BATCH)
                if not found:
                    break
                changed, refused = await self.write(collection, [each["_id"] for each in found])
                skipped += refused
                await progress(total, changed, len(refused))
        finally:
            await cursor.close()
        name_refused(collection, skipped)

    async def write(self, collection: Collection, ids: Sequence[Any]) -> tuple[int, list[Any]]:
        """Updates these documents if they still match. Returns how many it changed, and the ids of those it cannot write."""

        async def write_some(some: Sequence[Any]) -> int:
            with pymongo.timeout(WRITE_SECONDS):
                named = {"$and": [{"_id": {"$in": list(some)}}, self.matching]}
                written = await collection.update_many(named, self.update, hint="_id_")
            return written.modified_count

        return await write_all(write_some, ids, REFUSED)


def name_refused(collection: Collection, ids: Sequence[Any]) -> None:
    """Logs the ids of documents that MongoDB refuses to write."""
    for document_id in ids[:MAX_NAMED]:
        fields = {"collection": collection.name, "document": str(document_id)[:100]}
        log.warning("document not migrated: MongoDB refuses to write it", extra={"fields": fields})


def backfill(
    number: int,
    name: str,
    description: str,
    *,
    document: type[Document],
    matching: BSON,
    update: BSON | list[BSON],
    phase: Phase = Phase.expand,
) -> Migration:
    """A step that applies ``update`` to all documents that match ``matching``; afterwards none matches any more."""
    work = Backfill(document, matching, update)
    return Migration(number, name, description, phase, work.run, work.count_left)
