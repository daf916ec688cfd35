"""The stored accounts whose deletion was requested, and the leases of the workers that delete them."""

from datetime import datetime, timedelta
from typing import Final

from bson import ObjectId
from pymongo import ASCENDING

from taskapi.accounts.users.admin_repository import AdminRepository
from taskapi.accounts.users.documents import ACTIVE, UserDocument
from taskapi.core.clock import utc_now
from taskapi.db.connection import BSON, Database
from taskapi.db.expressions import NO_LIST
from taskapi.db.leases import Lease, LeasePolicy

# When the lease expires another worker continues; two at once do no harm.
LEASES: Final = LeasePolicy(timedelta(minutes=10), until="leaving.leased_until")
DUE: Final = {"leaving.due_at": ASCENDING}


class DeletionRepository:
    """Marks accounts for deletion, and removes those that are due."""

    def __init__(self, database: Database, admins: AdminRepository) -> None:
        self._users = database.collection(UserDocument)
        self._admins = admins

    async def schedule(self, user_id: ObjectId, confirmed: BSON, requested_at: datetime, due_at: datetime) -> bool:
        """Marks an active account for deletion, and ends its sessions.

        False when it is not active, or what was ``confirmed`` holds no longer.

        Raises:
            LastAdmin: the account is the only active admin.
        """
        values = {"leaving": {"requested_at": requested_at, "due_at": due_at}, "sessions": []}
        conditions = {"_id": user_id, **ACTIVE, **confirmed}
        return await self._admins.set_unless_last(conditions, values) is not None

    async def lease_due(self) -> Lease | None:
        """Leases the account that has been due longest; None if none is due. From then on, the deletion cannot be cancelled."""
        due = {"leaving.due_at": {"$lte": utc_now()}, "leaving": NO_LIST}
        taken = await LEASES.take(self._users, due, DUE, projection={"_id": 1})
        return taken[0] if taken else None

    async def remove(self, lease: Lease) -> None:
        """Deletes the account itself, unless another worker has leased it since."""
        await self._users.delete_one(lease.mine)
