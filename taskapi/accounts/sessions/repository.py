"""The stored details of sessions. Whether a session is alive is stored in its account (``UserRepository``)."""

from collections.abc import Sequence
from typing import Final

from bson import ObjectId
from pymongo import DESCENDING

from taskapi.accounts.sessions.documents import ROTATIONS_KEPT, SessionDocument
from taskapi.core.clock import utc_now
from taskapi.db.batches import delete_all
from taskapi.db.connection import BSON, Database

LAST_SEEN_FIRST: Final = [("last_seen_at", DESCENDING), ("_id", DESCENDING)]


class SessionRepository:
    """The sessions of all accounts."""

    def __init__(self, database: Database) -> None:
        self._sessions = database.collection(SessionDocument)

    async def add(self, session: BSON) -> None:
        """Stores a new session."""
        await self._sessions.insert_one(session)

    async def find(self, session_id: ObjectId) -> BSON | None:
        """The session with this id, unless it has expired."""
        return await self._sessions.find_one({"_id": session_id, "expires_at": {"$gt": utc_now()}})

    async def find_live(self, session_ids: Sequence[ObjectId]) -> set[ObjectId]:
        """The ids of those of the sessions that have not expired."""
        live = {"_id": {"$in": list(session_ids)}, "expires_at": {"$gt": utc_now()}}
        found = self._sessions.find(live, {"_id": 1}, batch_size=len(session_ids) + 1)
        return {session["_id"] for session in await found.to_list(None)}

    async def list_for_user(self, user: ObjectId, session_ids: Sequence[ObjectId]) -> list[BSON]:
        """Those of the sessions that belong to ``user`` and have not expired, last seen first."""
        live = {"_id": {"$in": list(session_ids)}, "user": user, "expires_at": {"$gt": utc_now()}}
        return await self._sessions.find(live, sort=LAST_SEEN_FIRST).to_list(None)

    async def find_last_seen(self, session_ids: Sequence[ObjectId], limit: int) -> list[ObjectId]:
        """The ids of the ``limit`` most recently seen sessions."""
        found = self._sessions.find({"_id": {"$in": list(session_ids)}}, {"_id": 1}, sort=LAST_SEEN_FIRST, limit=limit)
        return [session["_id"] for session in await found.to_list(None)]

    async def rotate(self, session: BSON, values: BSON, rotation: BSON) -> bool:
        """Stores the next refresh token of ``session`` and the rotation. False if another request rotated it first."""
        unchanged = {"_id": session["_id"], "token_hash": session["token_hash"]}
        rotations = {"$each": [rotation], "$slice": -ROTATIONS_KEPT}
        written = await self._sessions.update_one(unchanged, {"$set": values, "$push": {"rotations": rotations}})
        return written.modified_count == 1

    async def touch(self, session_id: ObjectId) -> None:
        """Records that a session is used now."""
        await self._sessions.update_one({"_id": session_id}, {"$set": {"last_seen_at": utc_now()}})

    async def remove(self, session_id: ObjectId) -> None:
        """Removes a session. The driver repeats it after a failover, as it does for writes of one document alone."""
        await self._sessions.delete_one({"_id": session_id})

    async def remove_many(self, session_ids: Sequence[ObjectId]) -> None:
        """Removes these sessions."""
        await self._sessions.delete_many({"_id": {"$in": list(session_ids)}})

    async def delete_for_user(self, user: ObjectId) -> None:
        """Deletes all sessions of ``user``."""
        await delete_all(self._sessions, {"user": user})
