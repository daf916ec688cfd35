"""Renaming: the name changes in the account at once, and the copies in its tasks follow in small batches.

``users.renaming`` says that copies have to follow. A worker leases it, and renews the lease with each batch; when it is killed,
another one begins again, and skips what has the name already. Requests that began before the change may still write the old
name, so all is gone through once more a minute later.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Final, Protocol

from bson import ObjectId
from pymongo import ASCENDING

from taskapi.accounts.users.documents import NO_LIST, SOURCE, UserDocument
from taskapi.core.background import Job
from taskapi.core.clock import utc_now
from taskapi.core.cooperative import background_batch
from taskapi.db import damaged
from taskapi.db.connection import BSON, collection, relaxed_writes

LEASE: Final = timedelta(minutes=2)  # after which another worker goes on; two at once do no harm
SETTLING: Final = timedelta(minutes=1)  # longer than a request takes
DUE: Final = {"renaming.due_at": ASCENDING}


class RenamingJob(Job):
    """Follows new user names in the background."""


class NameCopies(Protocol):
    """Where the names of accounts are copied to, in batches of ids."""

    def batches(self, user: ObjectId, /) -> AsyncGenerator[list[ObjectId], None]:
        """The ids of all that holds a copy of the name of ``user``. One that changes meanwhile may be left out or come twice."""

    async def write(self, user: ObjectId, username: str, ids: Sequence[ObjectId], /) -> int:
        """Gives those copies the name ``username``; how many had another."""


def renamed(now: datetime) -> BSON:
    """The update of an account that changes its name: copies have to follow, and entity tags differ. A lease goes on."""
    return {"$set": {"renaming.renamed_at": now, "renaming.due_at": now}, "$inc": {"renames": 1}}


async def follow_due(copies: NameCopies) -> None:
    """Writes the present names of all accounts whose ``copies`` have to follow."""
    while mine := await _lease():
        await _follow(mine, copies)


async def _lease() -> BSON | None:
    """The filter of an account whose copies are ours to write, as long as they are; None when there is none."""
    now, holder = utc_now(), ObjectId()
    due: BSON = {"renaming.due_at": {"$lte": now}, "renaming.leased_until": {"$not": {"$gt": now}}, "renaming": NO_LIST}
    lease = {"$set": {"renaming.leased_until": now + LEASE, "renaming.holder": holder}}
    user = await collection(UserDocument).find_one_and_update(due, lease, {"_id": 1}, sort=list(DUE.items()))
    return {"_id": user["_id"], "renaming.holder": holder} if user else None


async def _follow(mine: BSON, copies: NameCopies) -> None:
    changed = -1
    while changed:
        began, changed = utc_now(), 0
        async with aclosing(copies.batches(mine["_id"])) as batches:
            async for ids in batches:
                username = await _renew(mine)
                if username is None:  # the account is gone, has no name, or is somebody else's by now
                    return
                async with background_batch():
                    changed += await copies.write(mine["_id"], username, ids)
    await _release(mine, began)


async def _renew(mine: BSON) -> str | None:
    """The present name of the account, when it is still ours. Of one that has no name the work ends: its tasks keep theirs."""
    later = {"$set": {"renaming.leased_until": utc_now() + LEASE}}
    user = await relaxed_writes(collection(UserDocument)).find_one_and_update(mine, later, {"username": 1})
    if user is None:
        return None
    username = user.get("username")
    if isinstance(username, str):
        return username
    damaged.note(SOURCE, user["_id"], ["username"])
    await collection(UserDocument).update_one(mine, {"$unset": {"renaming": ""}})
    return None


async def _release(mine: BSON, began: datetime) -> None:
    """Ends the work when no request can have written another name since it ``began``, or leaves it for later."""
    settled = {**mine, "renaming.renamed_at": {"$lte": began - SETTLING}}
    if (await collection(UserDocument).update_one(settled, {"$unset": {"renaming": ""}})).matched_count == 0:
        again = {
            "$set": {"renaming.due_at": utc_now() + SETTLING},
            "$unset": {"renaming.leased_until": "", "renaming.holder": ""},
        }
        await collection(UserDocument).update_one(mine, again)
