"""Renaming: the name changes in the account at once, and the copies in its tasks follow in small batches.

``users.renaming`` says that copies have to follow. A worker leases it, and renews the lease with each batch; when it is killed,
another one begins again, and skips what has the name already. Requests that began before the change may still write the old
name, so all is gone through once more a minute later.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Protocol

from bson import ObjectId

from taskapi.accounts.users.renaming_repository import RenamingRepository
from taskapi.core.background import Job
from taskapi.core.clock import utc_now
from taskapi.core.cooperative import background_batch
from taskapi.db.leases import Lease


class RenamingJob(Job):
    """Follows new user names in the background."""


class NameCopies(Protocol):
    """Where the names of accounts are copied to, in batches of ids."""

    def batches(self, user_id: ObjectId, /) -> AsyncGenerator[list[ObjectId], None]:
        """The ids of all that holds a copy of the user name. One that changes meanwhile may be left out or come twice."""

    async def write(self, user_id: ObjectId, username: str, ids: Sequence[ObjectId], /) -> int:
        """Gives those copies the name ``username``; how many had another."""


async def follow_due(accounts: RenamingRepository, copies: NameCopies) -> None:
    """Writes the current names of all accounts whose ``copies`` have to follow."""
    while lease := await accounts.lease_due():
        await _follow(accounts, lease, copies)


async def _follow(accounts: RenamingRepository, lease: Lease, copies: NameCopies) -> None:
    changed = -1
    while changed:
        began, changed = utc_now(), 0
        async with aclosing(copies.batches(lease.document_id)) as batches:
            async for ids in batches:
                username = await accounts.renew(lease)
                if username is None:
                    return
                async with background_batch():
                    changed += await copies.write(lease.document_id, username, ids)
    await accounts.finish(lease, began)
