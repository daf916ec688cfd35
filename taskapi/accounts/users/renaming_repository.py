"""The stored accounts whose copies of the user name are out of date. One worker at a time updates them."""

from datetime import datetime, timedelta
from typing import Final

from pymongo import ASCENDING

from taskapi.accounts.users.documents import SOURCE, UserDocument
from taskapi.core.clock import utc_now
from taskapi.db import damaged
from taskapi.db.connection import BSON, Database, relaxed_writes
from taskapi.db.expressions import NO_LIST
from taskapi.db.leases import Lease, LeasePolicy

# When the lease expires another worker continues; two at once do no harm.
LEASES: Final = LeasePolicy(timedelta(minutes=2), until="renaming.leased_until", holder="renaming.holder", optional=True)
SETTLING: Final = timedelta(minutes=1)  # longer than a request takes once it knows its caller
DUE: Final = {"renaming.due_at": ASCENDING}


class RenamingRepository:
    """Leases renamed accounts, and clears them when their copies are up to date."""

    def __init__(self, database: Database) -> None:
        self._users = database.collection(UserDocument)
        self._relaxed = relaxed_writes(self._users)

    async def lease_due(self) -> Lease | None:
        """Leases the account that has been due longest; None if none is due."""
        due = {"renaming.due_at": {"$lte": utc_now()}, "renaming": NO_LIST}
        taken = await LEASES.take(self._users, due, DUE, projection={"_id": 1})
        return taken[0] if taken else None

    async def renew(self, lease: Lease) -> str | None:
        """Renews the lease, and returns the current user name; None when the lease was lost or the account has no user name.

        Without a user name there is nothing to copy, so the copies stay as they are.
        """
        user = await lease.renew(self._relaxed, {"username": 1})
        if user is None:
            return None
        username = user.get("username")
        if isinstance(username, str):
            return username
        damaged.note(SOURCE, user["_id"], ["username"])
        await self._users.update_one(lease.mine, {"$unset": {"renaming": ""}})
        return None

    async def finish(self, lease: Lease, began: datetime) -> None:
        """Clears the account if no request can have written an older name since ``began``; otherwise schedules another run."""
        settled = {**lease.mine, "renaming.renamed_at": {"$lte": began - SETTLING}}
        if (await self._users.update_one(settled, {"$unset": {"renaming": ""}})).matched_count == 0:
            await lease.release(self._users, {"renaming.due_at": utc_now() + SETTLING})


def outdated_copies(now: datetime) -> BSON:
    """The values that mark the copies of a name as out of date. A lease stays valid."""
    return {"renaming.renamed_at": now, "renaming.due_at": now}
