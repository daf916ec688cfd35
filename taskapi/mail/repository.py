"""The stored queue of mails."""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from bson import ObjectId
from pymongo import ASCENDING

from taskapi.core.clock import utc_now
from taskapi.db.batches import delete_all
from taskapi.db.connection import BSON, Database
from taskapi.db.leases import Lease, LeasePolicy
from taskapi.mail.documents import Kind, MailJobDocument

LEASE: Final = LeasePolicy(timedelta(minutes=2), until="leased_until")  # longer than one mail can take
KEPT: Final = timedelta(days=2)  # longer than the queue retries, so that the worker that gives a mail up can log it


class LeasedMail(NamedTuple):
    """A mail that this worker has leased for sending."""

    job: BSON
    lease: Lease


class MailRepository:
    """The unsent mails of all accounts."""

    def __init__(self, database: Database) -> None:
        self._mails = database.collection(MailJobDocument)

    async def add(self, kind: Kind, user: ObjectId | None, email: str | None, origin: BSON) -> None:
        """Stores a mail that is due now."""
        now = utc_now()
        await self._mails.insert_one(
            {
                "kind": kind,
                "user": user,
                "address": email,
                "origin": origin,
                "due_at": now,
                "leased_until": now,
                "attempts": 0,
                "created_at": now,
                "expires_at": now + KEPT,
            }
        )

    async def lease_due(self) -> LeasedMail | None:
        """Leases the mail that has been due longest, and counts the attempt; None if none is due."""
        due = {"due_at": {"$lte": utc_now()}}
        taken = await LEASE.take(self._mails, due, {"due_at": ASCENDING}, also={"$inc": {"attempts": 1}})
        return LeasedMail(taken[1], taken[0]) if taken else None

    async def put_off(self, mail: LeasedMail, due_at: datetime) -> None:
        """Postpones a mail to ``due_at``, unless another worker has leased it since."""
        await mail.lease.release(self._mails, {"due_at": due_at})

    async def give_up(self, mail: LeasedMail) -> None:
        """Removes a mail that could not be sent, unless another worker has leased it since."""
        await self._mails.delete_one(mail.lease.mine)

    async def remove(self, mail: LeasedMail) -> None:
        """Removes a mail that was sent, even if another worker has leased it since."""
        await self._mails.delete_one({"_id": mail.job["_id"]})

    async def delete_for_user(self, user: ObjectId) -> None:
        """Deletes the unsent mails to ``user``."""
        await delete_all(self._mails, {"user": user})
