"""The name of an owner in tasks that have just been stored, which may have changed while they were."""

from collections.abc import Sequence
from dataclasses import dataclass

from bson import ObjectId

from taskapi.accounts.auth.loaders import AccountLoader
from taskapi.accounts.users.schemas import UserRead
from taskapi.db.connection import BSON
from taskapi.tasks.schemas import TaskRead
from taskapi.tasks.storage.owner_name_repository import OwnerNameRepository
from taskapi.tasks.storage.reading import read


@dataclass(frozen=True, slots=True)
class OwnerNameSync:
    """Gives tasks the name that their owner has once they are stored."""

    names: OwnerNameRepository
    accounts: AccountLoader

    async def with_current_owner_name(self, owner: UserRead, task: BSON) -> TaskRead:
        """A task that has just become one of ``owner``, under the name they have now."""
        return read(task, await self.sync_owner_name(owner, [task["_id"]]))

    async def sync_owner_name(self, owner: UserRead, ids: Sequence[ObjectId]) -> UserRead:
        """Gives tasks that have just been stored the name their owner has now; the owner by that name."""
        # The copies of a name that changed before these were stored may have been written already; later ones find these.
        while (current := await self.accounts.get(owner.object_id)) is not None and current.username != owner.username:
            await self.names.write(owner.object_id, current.username, ids)
            owner = current
        return owner
