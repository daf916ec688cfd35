"""The stored tickets."""

from bson import ObjectId

from taskapi.core.clock import utc_now
from taskapi.db.batches import delete_all
from taskapi.db.connection import BSON, Database
from taskapi.events.documents import EventTicketDocument


class TicketRepository:
    """The tickets of all accounts, by the hashes of their texts."""

    def __init__(self, database: Database) -> None:
        self._tickets = database.collection(EventTicketDocument)

    async def add(self, hashed: bytes, values: BSON) -> None:
        """Stores a ticket."""
        await self._tickets.insert_one({"_id": hashed, **values})

    async def find(self, hashed: bytes) -> BSON | None:
        """A ticket that has not expired."""
        return await self._tickets.find_one({"_id": hashed, "expires_at": {"$gt": utc_now()}})

    async def remove(self, hashed: bytes) -> bool:
        """Removes a ticket, and says whether it was there. Of several callers, on any worker, one is told so."""
        return (await self._tickets.delete_one({"_id": hashed})).deleted_count == 1

    async def delete_for_user(self, user: ObjectId) -> None:
        """Deletes the tickets of ``user``."""
        await delete_all(self._tickets, {"user": user})
