"""Reservations of idempotency keys. One atomic write decides who runs a request; its response is stored for repeats.

A run holds its key for a lease that it renews, so a killed process frees the key and a slow one keeps it. Whoever takes
over goes on with the same seed, hence gives the same ids (``core.ids``). A run that lost its key cannot record an answer.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

from pymongo.errors import PyMongoError

from taskapi.core.clock import in_utc, utc_now
from taskapi.db.connection import Session
from taskapi.web.idempotency.errors import IdempotencyInFlight, IdempotencyKeyReused
from taskapi.web.idempotency.fingerprint import Fingerprints
from taskapi.web.idempotency.repository import IdempotencyRepository, Reservation, is_sound

log = logging.getLogger(__name__)

UNFINISHED = ("taskapi-unfinished", "true")  # stored with an answer that is not replayed: the next run goes on from it
RENEWALS = 3  # tries in each lease: one or two may fail


class Answer(NamedTuple):
    """The response to a request: status, headers and body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Recorded(NamedTuple):
    """A request that has been answered."""

    fingerprint: bytes
    answer: Answer


@dataclass(slots=True)
class KeyedRun:
    """The run of a request with an ``Idempotency-Key``."""

    reservation: Reservation
    is_in_transaction: bool = False  # one that has locked the record
    is_recorded: bool = False  # its answer, together with what it has done


@dataclass(frozen=True, slots=True)
class IdempotencyService:
    """Reserves keys for requests, and stores the responses."""

    records: IdempotencyRepository

    async def reserve(self, scope: str, key: str, fingerprints: Fingerprints | None) -> Reservation | Recorded:
        """Reserves ``key`` of the caller ``scope``, or finds the answer it was given before.

        ``fingerprints`` stand for the request; None while its body is not complete.

        Raises:
            IdempotencyInFlight: another run holds it.
            IdempotencyKeyReused: an earlier run that was not answered had another fingerprint.
        """
        fingerprint = fingerprints[0] if fingerprints else None
        if reservation := await self.records.add(scope, key, fingerprint):
            return reservation
        found = await self.records.find(scope, key)
        if found is None:  # it expired this moment
            raise IdempotencyInFlight
        now = utc_now()
        if not is_sound(found):
            reservation = await self.records.replace_damaged(found, fingerprint)
        elif in_utc(found["expires_at"]) <= now:  # MongoDB removes such ones once a minute
            reservation = await self.records.replace_expired(found, fingerprint)
        elif found["status"] is not None and UNFINISHED not in [(n, v) for n, v in found["headers"]]:
            return Recorded(found["fingerprint"], Answer(found["status"], [(n, v) for n, v in found["headers"]], found["body"]))
        elif in_utc(found["locked_until"]) > now:
            raise IdempotencyInFlight
        else:  # an earlier run ended without an answer: this one goes on in its place
            if fingerprints and found["fingerprint"]:
                require_same(found["fingerprint"], fingerprints)
            reservation = await self.records.take_over(found, fingerprint)
        if reservation is None:  # another was quicker
            raise IdempotencyInFlight
        return reservation

    async def identify(self, reservation: Reservation, fingerprints: Fingerprints) -> None:
        """Stores the fingerprint of a request whose body was not complete when it was reserved.

        Raises:
            IdempotencyKeyReused: an earlier run had another.
            IdempotencyInFlight: the reservation was lost.
        """
        if reservation.fingerprint is not None:
            require_same(reservation.fingerprint, fingerprints)
        elif not await self.records.update(reservation, {"fingerprint": fingerprints[0]}):
            raise IdempotencyInFlight

    async def extend(self, reservation: Reservation, session: Session | None) -> None:
        """Begins a transaction that will record the answer: whoever else wants the key waits for it, or meets its write.

        Raises IdempotencyInFlight when the reservation was lost.
        """
        if not await self.records.update(reservation, {"locked_until": utc_now() + self.records.lease.duration}, session):
            raise IdempotencyInFlight

    async def record(self, reservation: Reservation, answer: Answer, session: Session | None = None) -> None:
        """Keeps the answer for the repeats. Raises IdempotencyInFlight when the reservation was lost."""
        if not await self.records.update(reservation, {"holder": None, **answer._asdict()}, session):
            raise IdempotencyInFlight

    async def release(self, reservation: Reservation, unfinished: Answer | None = None) -> None:
        """Lets a repeat run the request again, with the same ids: it may have been done although it failed.

        If it was done in part, the repeat goes on from the answer ``unfinished``.

        When the database cannot be reached, the end of the lease does the same, from the start.
        """
        values = unfinished._replace(headers=[*unfinished.headers, UNFINISHED])._asdict() if unfinished else {}
        try:
            await self.records.release(reservation, values)
        except PyMongoError as error:
            log.warning("an idempotency key stays locked until its lease ends: %s", type(error).__name__)

    @asynccontextmanager
    async def holding(self, run: KeyedRun) -> AsyncIterator[None]:
        """Keeps the reservation alive meanwhile; releases it when the work fails."""
        renewal = asyncio.create_task(self._renew(run))
        try:
            yield
        except BaseException:
            await self.release(run.reservation)
            raise
        finally:
            renewal.cancel()

    async def _renew(self, run: KeyedRun) -> None:
        pause = self.records.lease.duration / RENEWALS
        is_held = True
        while is_held:
            await asyncio.sleep(pause.total_seconds())
            if run.is_in_transaction:  # a renewal would hold a thread until the transaction ends
                continue
            try:
                is_held = await self.records.renew(run.reservation)
            except PyMongoError as error:
                log.warning("an idempotency key could not be kept locked: %s", type(error).__name__)


def require_same(first: bytes, fingerprints: Fingerprints) -> None:
    """Raises IdempotencyKeyReused when a request is not the first that came with its key."""
    if first not in fingerprints:
        raise IdempotencyKeyReused
