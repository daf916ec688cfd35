"""The stored security events."""

from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Final

from bson import ObjectId
from pymongo import ASCENDING, DESCENDING

from taskapi.audit.documents import GONE, SecurityEventDocument
from taskapi.core.clock import utc_now
from taskapi.db.batches import delete_all
from taskapi.db.connection import BSON, Database
from taskapi.db.snapshots import stream_batches
from taskapi.web.pagination import Page, PageQuery

NEWEST: Final = {"at": DESCENDING, "_id": DESCENDING}
OLDEST: Final = {"at": ASCENDING, "_id": ASCENDING}
PUBLIC: Final = dict.fromkeys(("at", "kind", "outcome", "user", "by", "address", "agent", "request_id", "details"), 1)
BATCH: Final = 1000


class SecurityEventRepository:
    """The events of all accounts. Each is stored for ``kept``."""

    def __init__(self, database: Database, kept: timedelta) -> None:
        self._events = database.collection(SecurityEventDocument)
        self._kept = kept

    async def add(self, event: BSON) -> None:
        """Stores an event with the current time."""
        now = utc_now()
        await self._events.insert_one({"at": now, **event, "expires_at": now + self._kept})

    async def find_page(self, query: PageQuery, matching: BSON, milliseconds: int) -> Page[BSON]:
        """A page of the matching events, newest first, found within ``milliseconds``."""
        return await query.find(self._events, matching, NEWEST, PUBLIC, milliseconds)

    def stream_for_user(self, user: ObjectId) -> AsyncGenerator[list[BSON], None]:
        """The events about ``user`` in batches, oldest first."""

        def stages(last: BSON | None) -> list[BSON]:
            theirs: BSON = {"user": user}
            if last:
                at, event_id = last["at"], last["_id"]
                theirs["$or"] = [{"at": {"$gt": at}}, {"at": at, "_id": {"$gt": event_id}}]
            return [{"$match": theirs}, {"$sort": OLDEST}, {"$project": PUBLIC}]

        return stream_batches(self._events, stages, BATCH)

    async def delete_for_user(self, user: ObjectId) -> None:
        """Deletes the events about ``user``, and anonymizes what they did to other accounts."""
        await delete_all(self._events, {"user": user})
        await self._events.update_many({"by": user}, {"$set": {"by": GONE, "address": "", "agent": ""}})
