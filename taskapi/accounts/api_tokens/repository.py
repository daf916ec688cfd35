"""The API tokens inside an account: one query finds a token and whose it is, and with the account they are gone."""

from collections.abc import Collection as Keys
from datetime import timedelta
from typing import Final

from bson import ObjectId

from taskapi.accounts.users.documents import ACCOUNT, ACTIVE, SOURCE, UserDocument
from taskapi.accounts.users.schemas import Account
from taskapi.core.clock import utc_now
from taskapi.core.unicode import spellings
from taskapi.db import damaged
from taskapi.db.connection import BSON, collection

MOST: Final = 50  # of one account
PAUSE: Final = timedelta(minutes=1)  # between two notes of a last use
# What ``of`` reads, as expressions: a list may be damaged, and so may be its members.
_LISTED: Final[BSON] = {"$cond": [{"$isArray": "$api_tokens"}, "$api_tokens", []]}
_TOKENS: Final[BSON] = {"$filter": {"input": _LISTED, "cond": {"$eq": [{"$type": "$$this"}, "object"]}}}


async def add(user: ObjectId, session: ObjectId, token: BSON) -> bool:
    """Gives ``user`` a token. False when there is no room, its name is taken, or ``session`` or the account has ended."""
    taken = {"$in": ["$$this.name_key", {"$literal": spellings(token["name_key"])}]}
    namesakes = {"$size": {"$filter": {"input": _TOKENS, "cond": taken}}}
    room = {"$expr": {"$and": [{"$lt": [{"$size": _TOKENS}, MOST]}, {"$eq": [namesakes, 0]}]}}
    put = [{"$set": {"api_tokens": {"$concatArrays": [_LISTED, [{"$literal": token}]]}}}]
    return (await collection(UserDocument).update_one({**_within(user, session), **room}, put)).modified_count == 1


async def of(user: ObjectId, session: ObjectId | None = None) -> list[BSON] | None:
    """The tokens of ``user``, the oldest first; None when the account is not active, or ``session`` has ended."""
    found = await collection(UserDocument).find_one(_within(user, session), {"api_tokens": 1})
    if found is None:
        return None
    tokens = found.get("api_tokens", [])
    return [token for token in tokens if isinstance(token, dict)] if isinstance(tokens, list) else []


async def change(user: ObjectId, session: ObjectId, token: ObjectId, values: BSON) -> bool:
    """Changes values of a token. False when ``user`` has none such, or ``session`` has ended."""
    matching = {**_within(user, session), "api_tokens.id": token}
    # By a filter of its own: the positional $ would take the place that the session has in its list.
    changes = {f"api_tokens.$[held].{name}": value for name, value in values.items()}
    held = [{"held.id": token}]
    return (await collection(UserDocument).update_one(matching, {"$set": changes}, array_filters=held)).matched_count == 1


async def remove(token: BSON, user: BSON) -> tuple[ObjectId, BSON] | None:
    """Removes a token: whose it was, and it. ``token`` is the one value by which to know it, ``user`` of the account."""
    # The path is for the index; $elemMatch leaves out a single token in place of the list, which $pull cannot take.
    matching = {**user, **{f"api_tokens.{name}": value for name, value in token.items()}, "api_tokens": {"$elemMatch": token}}
    found = await collection(UserDocument).find_one_and_update(
        matching, {"$pull": {"api_tokens": token}}, {"api_tokens": {"$elemMatch": token}}
    )
    return (found["_id"], found["api_tokens"][0]) if found else None


async def holders(hashes: Keys[bytes]) -> dict[bytes, tuple[Account, BSON]]:
    """Those of the tokens that exist, by their hashes, and their accounts, which are active."""
    wanted = list(hashes)
    # One alone needs no expression, which takes MongoDB longer.
    only: BSON = {"$elemMatch": {"hash": wanted[0]}}
    several: BSON = {"$filter": {"input": _LISTED, "cond": {"$in": ["$$this.hash", wanted]}}}
    cursor = collection(UserDocument).find(
        {"api_tokens.hash": {"$in": wanted}, **ACTIVE},
        {**ACCOUNT, "api_tokens": only if len(wanted) == 1 else several},
        batch_size=len(wanted) + 1,
    )
    found = [(damaged.read(Account, user, SOURCE), user.get("api_tokens", ())) for user in await cursor.to_list(None)]
    return {token["hash"]: (user, token) for user, tokens in found for token in tokens if isinstance(token["hash"], bytes)}


async def touch_api_token(hashed: bytes) -> None:
    """Notes that a token was used now, unless some worker did so within the last minute."""
    now = utc_now()
    due = {"used.hash": hashed, "used.last_used_at": {"$not": {"$gt": now - PAUSE}}}
    await collection(UserDocument).update_one(
        {"api_tokens.hash": hashed}, {"$set": {"api_tokens.$[used].last_used_at": now}}, array_filters=[due]
    )


def _within(user: ObjectId, session: ObjectId | None) -> BSON:
    """The filter of an active account, as long as ``session`` lives: who is signed out meanwhile keeps no way in."""
    return {"_id": user, **ACTIVE, **({"sessions": session} if session else {})}
