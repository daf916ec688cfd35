"""How tests let somebody leave, and look for what is left of them."""

from datetime import timedelta

import httpx
from bson import ObjectId

from taskapi.accounts.deletion.repository import DeletionRepository
from taskapi.accounts.deletion.service import Eraser, remove_due
from taskapi.accounts.users.documents import UserDocument
from taskapi.core.clock import utc_now
from taskapi.wiring import account_erasers
from tests.client import PASSWORD, Account
from tests.stored import collection, service, started


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


def erasers() -> list[Eraser]:
    """What deletes all that belongs to an account, in its order."""
    return list(account_erasers(started()).values())


async def remove(*instead: Eraser) -> None:
    """What a worker does every few minutes; with these erasers, if any are given."""
    await remove_due(service(DeletionRepository), instead or erasers())
