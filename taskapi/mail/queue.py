"""The queue of mails: requests add jobs, and each worker sends those that are due."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage

from bson import ObjectId

from taskapi.audit.recorder import AuditLog
from taskapi.core.background import Job
from taskapi.core.clock import in_utc, utc_now
from taskapi.core.email_addresses import is_local
from taskapi.core.errors import FieldError, InvalidInput
from taskapi.core.logs import request_id
from taskapi.db.connection import BSON
from taskapi.mail.documents import Kind
from taskapi.mail.repository import LeasedMail, MailRepository
from taskapi.mail.transports import DeliveryError, Send

log = logging.getLogger(__name__)

Compose = Callable[[BSON], Awaitable[EmailMessage | None]]

FIRST_PAUSE, MAX_PAUSE = timedelta(seconds=10), timedelta(hours=1)
MAX_DOUBLINGS = (MAX_PAUSE // FIRST_PAUSE).bit_length()
PATIENCE = timedelta(days=1)
STOPPING_SECONDS = 3.0  # for the mail that is being sent when the server stops: broken off, it may be sent a second time


@dataclass(frozen=True, slots=True)
class Outbox:
    """Queues mails. ``wake`` wakes this worker's mail job.

    ``local_domains``: whether e-mail addresses may be in domains reserved for tests and local networks.
    """

    mails: MailRepository
    wake: Callable[[], None]
    local_domains: bool = False

    def check(self, email: str | None) -> None:
        """Checks that an account may use the e-mail address ``email``.

        Raises:
            InvalidInput: its domain is local, and this server does not accept those.
        """
        if email and not self.local_domains and is_local(email):
            raise InvalidInput([FieldError("email", "must not end in .test, .local or .localhost on this server", "email")])

    async def enqueue(self, kind: Kind, audit_log: AuditLog, *, user: ObjectId | None = None, email: str | None = None) -> None:
        """Queues a mail to the account ``user``, or concerning ``email``, an e-mail address as a caller typed it."""
        await self.mails.add(kind, user, email, {**audit_log.client, "request_id": request_id.get()})
        self.wake()


class MailJob(Job):
    """Sends mails in the background."""


@dataclass(frozen=True, slots=True)
class MailWorker:
    """Sends mails that are due. ``compose`` writes the mail of a job, or returns None if it is no longer needed."""

    mails: MailRepository
    compose: Compose
    send: Send

    async def run_due(self) -> None:
        """Sends every mail that is due. A mail that a killed worker was sending is sent again."""
        while mail := await self.mails.lease_due():
            named = request_id.set(mail.job["origin"]["request_id"])
            delivery = asyncio.create_task(self._deliver(mail))
            try:
                await asyncio.shield(delivery)
            except asyncio.CancelledError:
                await asyncio.wait([delivery], timeout=STOPPING_SECONDS)
                delivery.cancel()
                await asyncio.wait([delivery])
                raise
            finally:
                request_id.reset(named)

    async def _deliver(self, mail: LeasedMail) -> None:
        message = await self.compose(mail.job)
        if message is not None:
            try:
                await self.send(message)
            except DeliveryError as error:
                await self._put_off(mail, error)
                return
        await self.mails.remove(mail)

    async def _put_off(self, mail: LeasedMail, error: DeliveryError) -> None:
        """Schedules the next attempt, or gives the mail up after a day or a permanent error."""
        job, now = mail.job, utc_now()
        pause = min(FIRST_PAUSE * 2 ** min(job["attempts"] - 1, MAX_DOUBLINGS), MAX_PAUSE)
        if error.permanent or now + pause > in_utc(job["created_at"]) + PATIENCE:
            log.error("mail %s (%s) given up after attempt %d: %s", job["_id"], job["kind"], job["attempts"], error)
            await self.mails.give_up(mail)
            return
        log.warning("mail %s (%s) will be retried in %d s: %s", job["_id"], job["kind"], pause.total_seconds(), error)
        await self.mails.put_off(mail, now + pause)
