"""Accounts in the database whose deletion was requested, and who removes them."""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from bson import ObjectId
from pymongo import ASCENDING

from taskapi.accounts.users.admin_repository import AdminRepository
from taskapi.accounts.users.documents import ACTIVE, NO_LIST, UserDocument
from taskapi.core.clock import utc_now
from taskapi.db.connection import BSON, Database

LEASE: Final = timedelta(minutes=10)  # after which another worker goes on; two at once do no harm
DUE: Final = {"leaving.due_at": ASCENDING}


class Removal(NamedTuple):
    """The right to remove an account."""

    user_id: ObjectId
    leased: BSON  # the filter of the account, as long as this worker holds the lease


class DeletionRepository:
    """Marks accounts for deletion, and removes those that are due."""

    def __init__(self, database: Database, admins: AdminRepository) -> None:
        self._users = database.collection(UserDocument)
        self._admins = admins

    async def schedule(self, user_id: ObjectId, password_hash: str, requested_at: datetime, due_at: datetime) -> bool:
        """Marks an active account for deletion, and ends its sessions. False when it is not active or the password changed.

        Raises:
            LastAdmin: the account is the only active admin.
        """
        values = {"leaving": {"requested_at": requested_at, "due_at": due_at}, "sessions": []}
        conditions = {"_id": user_id, **ACTIVE, "password_hash": password_hash}
        return await self._admins.set_unless_last(conditions, values) is not None

    async def lease_due(self) -> Removal | None:
        """Leases the account that has been due for longest; None when none is. From then on its owner cannot come back."""
        now = utc_now()
        until = now + LEASE
        due: BSON = {"leaving.due_at": {"$lte": now}, "leaving.leased_until": {"$not": {"$gt": now}}, "leaving": NO_LIST}
        user = await self._users.find_one_and_update(
            due, {"$set": {"leaving.leased_until": until}}, {"_id": 1}, sort=list(DUE.items())
        )
        return Removal(user["_id"], {"_id": user["_id"], "leaving.leased_until": until}) if user else None

    async def remove(self, removal: Removal) -> None:
        """Deletes the account itself, unless another worker has leased it since."""
        await self._users.delete_one(removal.leased)
