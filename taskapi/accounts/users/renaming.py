"""Renaming: the name changes in the account at once; the copies in its tasks are updated in the background, in batches.

``users.renaming`` marks the account. A worker leases it, and renews the lease with each batch. If the worker is killed, another
one starts over, and skips copies that have the new name already. Requests that started before the change may still write the
old name, so all copies are checked once more a minute later.
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
    """Updates the copies of changed user names in the background."""


class NameCopies(Protocol):
    """Where the names of accounts are copied to."""

    def batches(self, user_id: ObjectId, /) -> AsyncGenerator[list[ObjectId], None]:
        """The ids of all documents with a copy of the user name. One that changes meanwhile may be skipped or come twice."""

    async def write(self, user_id: ObjectId, username: str, ids: Sequence[ObjectId], /) -> int:
        """Sets the name in these copies to ``username``. Returns how many had another."""


async def follow_due(accounts: RenamingRepository, copies: NameCopies) -> None:
    """Updates the ``copies`` of all accounts whose user name has changed."""
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
