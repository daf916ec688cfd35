"""Lets the copies of names follow, as a worker does it."""

from taskapi.accounts.users import renaming
from taskapi.accounts.users.renaming_repository import RenamingRepository
from taskapi.tasks.storage.owner_name_repository import OwnerNameRepository
from tests.stored import service


async def follow_due() -> None:
    """Writes the names of all accounts whose copies have to follow."""
    await renaming.follow_due(service(RenamingRepository), service(OwnerNameRepository))
