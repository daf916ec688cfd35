"""Lets the copies of names follow, as a worker does it."""

from taskapi.accounts.users import renaming
from taskapi.tasks.storage import owner_names


async def follow_due() -> None:
    """Writes the names of all accounts whose copies have to follow."""
    await renaming.follow_due(owner_names)
