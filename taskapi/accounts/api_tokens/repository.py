"""The API tokens inside an account: one query finds a token and its owner, and deleting the account deletes them."""

from collections.abc import Collection as Keys
from datetime import timedelta
from typing import Final

from bson import ObjectId

from taskapi.accounts.users.documents import ACCOUNT, ACTIVE, MAX_TOKENS, SOURCE, UserDocument
from taskapi.accounts.users.schemas import Account
from taskapi.core.clock import utc_now
from taskapi.core.unicode import spellings
from taskapi.db import damaged
from taskapi.db.connection import BSON, Database
from taskapi.db.expressions import list_or_empty

PAUSE: Final = timedelta(minutes=1)  # between two writes of a last use
# The same as ``list_for_user`` reads, as expressions: the list or its members may be damaged.
_LISTED: Final[BSON] = list_or_empty("$api_tokens")
_TOKENS: Final[BSON] = {"$filter": {"input": _LISTED, "cond": {"$eq": [{"$type": "$$this"}, "object"]}}}


class ApiTokenRepository:
    """The API tokens of all accounts."""

    def __init__(self, database: Database) -> None:
        self._users = database.collection(UserDocument)

    async def add(self, user_id: ObjectId, session_id: ObjectId, token: BSON) -> bool:
        """Adds a token. False when the account has too many or one of this name, is not active, or the session has ended."""
        taken = {"$in": ["$$this.name_key", {"$literal": spellings(token["name_key"])}]}
        namesakes = {"$size": {"$filter": {"input": _TOKENS, "cond": taken}}}
        has_room = {"$expr": {"$and": [{"$lt": [{"$size": _TOKENS}, MAX_TOKENS]}, {"$eq": [namesakes, 0]}]}}
        append = [{"$set": {"api_tokens": {"$concatArrays": [_LISTED, [{"$literal": token}]]}}}]
        written = await self._users.update_one({**_active(user_id, session_id), **has_room}, append)
        return written.modified_count == 1

    async def list_for_user(self, user_id: ObjectId, session_id: ObjectId | None = None) -> list[BSON] | None:
        """The tokens of an account, oldest first; None when it is not active, or the session has ended."""
        found = await self._users.find_one(_active(user_id, session_id), {"api_tokens": 1})
        if found is None:
            return None
        tokens = found.get("api_tokens", [])
        return [token for token in tokens if isinstance(token, dict)] if isinstance(tokens, list) else []

    async def change(self, user_id: ObjectId, session_id: ObjectId, token_id: ObjectId, values: BSON) -> bool:
        """Changes values of a token. False when the account has no such token, or the session has ended."""
        matching = {**_active(user_id, session_id), "api_tokens.id": token_id}
        # With an array filter: the positional $ would use the position of the session in its list.
        changes = {f"api_tokens.$[held].{name}": value for name, value in values.items()}
        held = [{"held.id": token_id}]
        return (await self._users.update_one(matching, {"$set": changes}, array_filters=held)).matched_count == 1

    async def remove(self, user_id: ObjectId, token_id: ObjectId) -> BSON | None:
        """Removes a token of an account and returns it; None when it has no such token."""
        removed = await self._remove({"id": token_id}, {"_id": user_id})
        return removed[1] if removed else None

    async def remove_by_hash(self, hashed: bytes) -> tuple[ObjectId, BSON] | None:
        """Removes the token with this hash, and returns the id of its account and the token; None when there is none."""
        return await self._remove({"hash": hashed}, {})

    async def find_with_owners(self, hashes: Keys[bytes]) -> dict[bytes, tuple[Account, BSON]]:
        """The tokens with these hashes, and their accounts; without those of accounts that are not active."""
        wanted = list(hashes)
        # A single token needs no expression, which MongoDB evaluates more slowly.
        only: BSON = {"$elemMatch": {"hash": wanted[0]}}
        several: BSON = {"$filter": {"input": _LISTED, "cond": {"$in": ["$$this.hash", wanted]}}}
        cursor = self._users.find(
            {"api_tokens.hash": {"$in": wanted}, **ACTIVE},
            {**ACCOUNT, "api_tokens": only if len(wanted) == 1 else several},
            batch_size=len(wanted) + 1,
        )
        found = [(damaged.read(Account, user, SOURCE), user.get("api_tokens", ())) for user in await cursor.to_list(None)]
        return {token["hash"]: (user, token) for user, tokens in found for token in tokens if isinstance(token["hash"], bytes)}

    async def touch(self, hashed: bytes) -> None:
        """Records that a token is used now, unless a worker did so within the last minute."""
        now = utc_now()
        due = {"used.hash": hashed, "used.last_used_at": {"$not": {"$gt": now - PAUSE}}}
        await self._users.update_one(
            {"api_tokens.hash": hashed}, {"$set": {"api_tokens.$[used].last_used_at": now}}, array_filters=[due]
        )

    async def _remove(self, token: BSON, user: BSON) -> tuple[ObjectId, BSON] | None:
        # The path uses the index; $elemMatch excludes a single token stored instead of a list, which $pull cannot update.
        matching = {**user, **{f"api_tokens.{name}": value for name, value in token.items()}, "api_tokens": {"$elemMatch": token}}
        found = await self._users.find_one_and_update(
            matching, {"$pull": {"api_tokens": token}}, {"api_tokens": {"$elemMatch": token}}
        )
        return (found["_id"], found["api_tokens"][0]) if found else None


def _active(user_id: ObjectId, session_id: ObjectId | None) -> BSON:
    """The filter for an active account whose session is alive, so that an ended session cannot create a token."""
    return {"_id": user_id, **ACTIVE, **({"sessions": session_id} if session_id else {})}
