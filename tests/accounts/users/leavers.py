"""How tests let somebody leave, and look for what is left of them."""

from datetime import timedelta

import httpx
from bson import ObjectId

from taskapi.accounts.deletion.service import remove_due
from taskapi.accounts.users.documents import UserDocument
from taskapi.core.clock import utc_now
from taskapi.main import account_erasers
from tests.client import PASSWORD, Account
from tests.stored import collection, started


async def leave(account: Account, password: str = PASSWORD) -> httpx.Response:
    return await account.delete("/users/me", json={"password": password})


async def is_due(account: Account) -> None:
    """Lets the time of grace of ``account`` be over."""
    await _set(account, "due_at")


async def lease_ends(account: Account) -> None:
    """Lets the lease of whoever removes ``account`` be over."""
    await _set(account, "leased_until")


async def _set(account: Account, name: str) -> None:
    past = {f"leaving.{name}": utc_now() - timedelta(seconds=1)}
    await collection(UserDocument).update_one({"_id": ObjectId(account.id)}, {"$set": past})


async def remove() -> None:
    """What a worker does every few minutes."""
    await remove_due(account_erasers(started()).values())
