"""The second factor inside an account: each change of it is one write that holds only in the state it is meant for."""

from collections.abc import AsyncIterator
from datetime import datetime

from bson import ObjectId

from taskapi.accounts.users.documents import ACTIVE, MAY_SIGN_IN, UserDocument
from taskapi.db.connection import BSON, collection

ON = {"two_factor": True}
NOT_ON = {"two_factor": {"$ne": True}}


async def of(user: ObjectId) -> tuple[bool, BSON | None]:
    """Whether ``user`` has a second factor, and their authenticator, which may be one to confirm."""
    found = await collection(UserDocument).find_one({"_id": user, **MAY_SIGN_IN}, {"two_factor": 1, "authenticator": 1}) or {}
    return found.get("two_factor", False), found.get("authenticator")


async def sealed_secrets(limit: int) -> AsyncIterator[bytes]:
    """The sealed secrets of the second factors that are on, at most so many."""
    having = {**ON, "authenticator.secret": {"$type": "binData"}}
    async for user in collection(UserDocument).find(having, {"authenticator.secret": 1}, limit=limit):
        yield user["authenticator"]["secret"]


async def begin(user: ObjectId, password_hash: str, sealed: bytes, expires_at: datetime) -> bool:
    """Gives ``user``, who has ``password_hash``, one to confirm. False when one is on, or the password changed."""
    matching = {"_id": user, **ACTIVE, **NOT_ON, "password_hash": password_hash}
    return await _wrote(matching, {"$set": {"authenticator": {"secret": sealed, "expires_at": expires_at}}})


async def confirm(user: ObjectId, session: ObjectId, sealed: bytes, step: int, recovery: list[bytes]) -> bool:
    """Turns it on with the secret ``sealed``, and ends every session but this one in the same write: none of them has proven it.

    ``step`` is that of the code. False when it is not to be confirmed any more, or ``session`` has ended.
    """
    authenticator = {"secret": sealed, "last_step": step, "recovery": recovery}
    matching = {"_id": user, **ACTIVE, **NOT_ON, "authenticator.secret": sealed, "sessions": session}
    return await _wrote(matching, {"$set": {**ON, "authenticator": authenticator, "sessions": [session]}})


async def pass_step(user: ObjectId, sealed: bytes, step: int, renewed: bytes) -> bool:
    """Notes that the code of ``step`` was used; ``renewed`` replaces the sealed secret. False when it, or a later one, was."""
    matching = {"_id": user, **MAY_SIGN_IN, **ON, "authenticator.secret": sealed, "authenticator.last_step": {"$lt": step}}
    return await _wrote(matching, {"$set": {"authenticator.last_step": step, "authenticator.secret": renewed}})


async def spend(user: ObjectId, hashes: list[bytes]) -> int | None:
    """Uses up the recovery code of which one of ``hashes`` is stored: how many are left, or None when none is."""
    held = {"authenticator.recovery": {"$in": hashes}}
    before = await collection(UserDocument).find_one_and_update(
        {"_id": user, **MAY_SIGN_IN, **ON, **held}, {"$pull": held}, {"authenticator.recovery": 1}
    )
    return len(before["authenticator"]["recovery"]) - 1 if before else None


async def replace_recovery(user: ObjectId, password_hash: str, recovery: list[bytes]) -> bool:
    """Gives ``user``, who has ``password_hash``, other recovery codes. False when they have no second factor."""
    return await _wrote(
        {"_id": user, **ACTIVE, **ON, "password_hash": password_hash}, {"$set": {"authenticator.recovery": recovery}}
    )


async def remove(user: ObjectId, required: BSON) -> bool:
    """Takes it off the account of ``user``, in the state that ``required`` describes. False when it was not on."""
    return await _wrote({"_id": user, **ON, **required}, {"$unset": {"two_factor": "", "authenticator": ""}})


async def _wrote(matching: BSON, change: BSON) -> bool:
    return (await collection(UserDocument).update_one(matching, change)).matched_count == 1
