"""Keeps the owner's name in imported tasks current, in case it changes during the import.

Other requests end long before the copies of a changed name are checked for the last time (``accounts.users.renaming``). An import
may take longer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bson import ObjectId

from taskapi.accounts.auth.loaders import AccountLoader
from taskapi.accounts.users.schemas import UserRead
from taskapi.tasks.storage.owner_name_repository import OwnerNameRepository


@dataclass(frozen=True, slots=True)
class OwnerNameSync:
    """Gives tasks that have just been stored the current name of their owner."""

    names: OwnerNameRepository
    accounts: AccountLoader

    async def sync_owner_name(self, owner: UserRead, ids: Sequence[ObjectId]) -> UserRead:
        """Gives tasks that have just been stored the current name of their owner. Returns the owner with that name."""
        # A renaming may have passed over these tasks before they were stored; one that starts later finds them.
        while (current := await self.accounts.get(owner.object_id)) is not None and current.username != owner.username:
            await self.names.write(owner.object_id, current.username, ids)
            owner = current
        return owner
