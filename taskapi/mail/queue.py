"""The queue of mails: requests put jobs into it, and each worker sends what is due."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage
from typing import Literal

from bson import ObjectId
from pymongo import ReturnDocument

from taskapi.audit.recorder import MAX_AGENT_LENGTH, AuditLog
from taskapi.core.background import Job
from taskapi.core.clock import in_utc, utc_now
from taskapi.core.email_addresses import is_local
from taskapi.core.errors import FieldError, InvalidInput
from taskapi.core.logs import request_id
from taskapi.db.batches import delete_all
from taskapi.db.connection import BSON, collection
from taskapi.mail.documents import MailJobDocument
from taskapi.mail.transports import DeliveryError, Send

log = logging.getLogger(__name__)

Kind = Literal["password_reset", "verify_email", "notice_password", "notice_email"]
Compose = Callable[[BSON], Awaitable[EmailMessage | None]]

LEASE = timedelta(minutes=2)  # longer than one mail can take
FIRST_PAUSE, MAX_PAUSE = timedelta(seconds=10), timedelta(hours=1)
PATIENCE = timedelta(days=1)
KEPT = timedelta(days=2)  # longer than PATIENCE, so that the worker that gives a mail up can log it


@dataclass(frozen=True, slots=True)
class Outbox:
    """Takes mails to be sent. ``wake`` tells the job of this worker that there is one.

    ``local_domains``: accounts may have addresses of tests and local networks.
    """

    wake: Callable[[], None]
    local_domains: bool = False

    def check(self, address: str | None) -> None:
        """Returns when an account may have ``address``.

        Raises:
            InvalidInput: its domain is a local one, and those are not taken.
        """
        if address and not self.local_domains and is_local(address):
            raise InvalidInput([FieldError("email", "must not end in .test, .local or .localhost on this server", "email")])

    async def enqueue(self, kind: Kind, audit_log: AuditLog, *, user: ObjectId | None = None, address: str | None = None) -> None:
        """Queues a mail to the account ``user``, or about ``address`` as a caller typed it."""
        now = utc_now()
        await collection(MailJobDocument).insert_one(
            {
                "kind": kind,
                "user": user,
                "address": address,
                "origin": {
                    "address": audit_log.address,
                    "agent": audit_log.agent[:MAX_AGENT_LENGTH],
                    "request_id": request_id.get(),
                },
                "due_at": now,
                "leased_until": now,
                "attempts": 0,
                "created_at": now,
                "expires_at": now + KEPT,
            }
        )
        self.wake()


async def delete_for_user(user: ObjectId) -> None:
    """Deletes the mails to ``user`` that are not sent yet."""
    await delete_all(collection(MailJobDocument), {"user": user})


class MailJob(Job):
    """Sends mails in the background."""


@dataclass(frozen=True, slots=True)
class MailWorker:
    """Sends what is due: ``compose`` makes the mail of a job, or None when it is no longer needed."""

    compose: Compose
    send: Send

    async def run_due(self) -> None:
        """Sends every mail that is due. One that is being sent when its worker is killed is sent again."""
        while job := await _lease():
            named = request_id.set(job["origin"]["request_id"])
            try:
                await self._deliver(job)
            finally:
                request_id.reset(named)

    async def _deliver(self, job: BSON) -> None:
        message = await self.compose(job)
        if message is not None:
            try:
                await self.send(message)
            except DeliveryError as error:
                await _put_off(job, error)
                return
        await collection(MailJobDocument).delete_one({"_id": job["_id"]})


async def _lease() -> BSON | None:
    now = utc_now()
    return await collection(MailJobDocument).find_one_and_update(
        {"due_at": {"$lte": now}, "leased_until": {"$lte": now}},
        {"$set": {"leased_until": now + LEASE}, "$inc": {"attempts": 1}},
        sort=[("due_at", 1)],
        return_document=ReturnDocument.AFTER,
    )


async def _put_off(job: BSON, error: DeliveryError) -> None:
    """Leaves a job for later, or gives it up after a day."""
    now = utc_now()
    mine = {"_id": job["_id"], "attempts": job["attempts"]}
    pause = min(FIRST_PAUSE * 2 ** (job["attempts"] - 1), MAX_PAUSE)
    if error.permanent or now + pause > in_utc(job["created_at"]) + PATIENCE:
        log.error("mail %s (%s) is given up at attempt %d: %s", job["_id"], job["kind"], job["attempts"], error)
        await collection(MailJobDocument).delete_one(mine)
        return
    log.warning("mail %s (%s) waits for %d s: %s", job["_id"], job["kind"], pause.total_seconds(), error)
    await collection(MailJobDocument).update_one(mine, {"$set": {"due_at": now + pause, "leased_until": now}})
