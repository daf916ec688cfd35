"""The stored one-time tokens."""

from collections.abc import Sequence

from bson import ObjectId

from taskapi.accounts.recovery.documents import OneTimeTokenDocument, Purpose
from taskapi.core.clock import utc_now
from taskapi.db.batches import delete_all
from taskapi.db.connection import BSON, Database


class OneTimeTokenRepository:
    """The token of each account and purpose. Only hashes of tokens are stored."""

    def __init__(self, database: Database) -> None:
        self._tokens = database.collection(OneTimeTokenDocument)

    async def replace(self, user: ObjectId, purpose: Purpose, values: BSON) -> None:
        """Stores a token; the previous one of that account and purpose is gone."""
        await self._tokens.update_one({"user": user, "purpose": purpose}, {"$set": values}, upsert=True)

    async def find(self, purpose: Purpose, hashes: Sequence[bytes]) -> BSON | None:
        """The token that has one of the hashes and has not expired."""
        return await self._tokens.find_one(
            {"token_hash": {"$in": list(hashes)}, "purpose": purpose, "expires_at": {"$gt": utc_now()}}
        )

    async def replace_mark(self, user: ObjectId, marks: Sequence[bytes], mark: bytes) -> None:
        """Gives those tokens of ``user`` that have one of ``marks`` another ``mark``."""
        await self._tokens.update_many({"user": user, "mark": {"$in": list(marks)}}, {"$set": {"mark": mark}})

    async def remove(self, hashes: Sequence[bytes]) -> None:
        """Removes the token that has one of the hashes."""
        await self._tokens.delete_one({"token_hash": {"$in": list(hashes)}})

    async def delete_for_user(self, user: ObjectId) -> None:
        """Deletes the tokens of ``user``."""
        await delete_all(self._tokens, {"user": user})
