"""Reservations of idempotency keys. One atomic write decides who runs a request; its answer is kept for the repeats.

A run holds its key for a lease that it renews, so a killed process frees the key and a slow one keeps it. Whoever takes
over goes on with the same seed, hence gives the same ids (``identity``). A run that lost its key cannot record an answer.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from bson import MaxKey, MinKey, ObjectId
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError, PyMongoError

from taskapi.core.clock import in_utc, utc_now
from taskapi.core.errors import IdempotencyInFlight, IdempotencyKeyReused
from taskapi.core.ids import new_seed
from taskapi.db.batches import delete_all
from taskapi.db.connection import BSON, collection
from taskapi.web.idempotency.documents import IdempotencyDocument

log = logging.getLogger(__name__)

Fingerprints = tuple[bytes, ...]  # of one request, by each key and in each form that versions have stored; the first is stored

KEPT = timedelta(hours=24)  # from the first request
RENEWALS = 3  # tries in each lease: one or two may fail


class Answer(NamedTuple):
    """What a request was answered: status, headers and body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Recorded(NamedTuple):
    """A request that has been answered."""

    fingerprint: bytes
    answer: Answer


@dataclass(frozen=True, slots=True)
class Reservation:
    """The right to run a request, until another run takes it over."""

    identity: BSON
    holder: ObjectId
    seed: ObjectId
    fingerprint: bytes | None

    @property
    def mine(self) -> BSON:
        """The filter of its document, as long as this run holds it."""
        return {"_id": self.identity, "holder": self.holder}


async def reserve(scope: str, key: str, fingerprints: Fingerprints | None, lease: timedelta) -> Reservation | Recorded:
    """Reserves ``key`` of the caller ``scope``, or finds the answer it was given before.

    ``fingerprints`` stand for the request; None while its body is not complete.

    Raises:
        IdempotencyInFlight: another run holds it.
        IdempotencyKeyReused: an earlier run that was not answered had another fingerprint.
    """
    now = utc_now()
    fingerprint = fingerprints[0] if fingerprints else None
    identity = {"scope": scope, "key": key}
    hold: BSON = {"holder": ObjectId(), "locked_until": now + lease}
    fresh: BSON = {
        **hold,
        "seed": new_seed(),
        "fingerprint": fingerprint,
        "status": None,
        "headers": None,
        "body": None,
        "created_at": now,
        "expires_at": now + KEPT,
    }
    try:
        await collection(IdempotencyDocument).insert_one({"_id": identity, **fresh})
    except DuplicateKeyError:
        return await _reserve_again(identity, fingerprints, hold, fresh)
    return Reservation(identity, fresh["holder"], fresh["seed"], fingerprint)


async def _reserve_again(identity: BSON, fingerprints: Fingerprints | None, hold: BSON, fresh: BSON) -> Reservation | Recorded:
    found = await collection(IdempotencyDocument).find_one({"_id": identity})
    if found is None:  # it expired this moment
        raise IdempotencyInFlight
    now = utc_now()
    if in_utc(found["expires_at"]) <= now:  # MongoDB removes such ones once a minute
        changes = fresh
    elif found["status"] is not None:
        return Recorded(found["fingerprint"], Answer(found["status"], [(n, v) for n, v in found["headers"]], found["body"]))
    elif in_utc(found["locked_until"]) > now:
        raise IdempotencyInFlight
    else:  # an earlier run ended without an answer: this one goes on in its place
        if fingerprints and found["fingerprint"]:
            require_same(found["fingerprint"], fingerprints)
        changes = {**hold, "fingerprint": found["fingerprint"] or fresh["fingerprint"]}
    as_found = {name: found[name] for name in ("_id", "holder", "locked_until")}
    taken = await collection(IdempotencyDocument).find_one_and_update(
        as_found, {"$set": changes}, return_document=ReturnDocument.AFTER
    )
    if taken is None:  # another was quicker
        raise IdempotencyInFlight
    return Reservation(identity, taken["holder"], taken["seed"], taken["fingerprint"])


async def identify(reservation: Reservation, fingerprints: Fingerprints) -> None:
    """Notes the fingerprints of a request whose body was not complete when it was reserved.

    Raises:
        IdempotencyKeyReused: an earlier run had another.
        IdempotencyInFlight: the reservation was lost.
    """
    if reservation.fingerprint is None:
        await _update(reservation, {"fingerprint": fingerprints[0]})
    else:
        require_same(reservation.fingerprint, fingerprints)


def require_same(first: bytes, fingerprints: Fingerprints) -> None:
    """Raises IdempotencyKeyReused when a request is not the first that came with its key."""
    if first not in fingerprints:
        raise IdempotencyKeyReused


async def record(reservation: Reservation, answer: Answer) -> None:
    """Keeps the answer for the repeats. Raises IdempotencyInFlight when the reservation was lost."""
    await _update(reservation, {"holder": None, **answer._asdict()})


async def release(reservation: Reservation) -> None:
    """Lets a repeat run the request again, with the same ids: it may have been done although it failed.

    When the database cannot be reached, the end of the lease does the same.
    """
    changes = {"holder": None, "locked_until": utc_now()}
    try:
        await collection(IdempotencyDocument).update_one(reservation.mine, {"$set": changes})
    except PyMongoError as error:
        log.warning("an idempotency key stays locked until its lease ends: %s", type(error).__name__)


@asynccontextmanager
async def holding(reservation: Reservation, lease: timedelta) -> AsyncIterator[None]:
    """Keeps the reservation alive meanwhile; releases it when the work fails."""
    renewal = asyncio.create_task(_renew(reservation, lease))
    try:
        yield
    except BaseException:
        await release(reservation)
        raise
    finally:
        renewal.cancel()


async def _renew(reservation: Reservation, lease: timedelta) -> None:
    while True:
        await asyncio.sleep(lease.total_seconds() / RENEWALS)
        try:
            await _update(reservation, {"locked_until": utc_now() + lease})
        except PyMongoError as error:
            log.warning("an idempotency key could not be kept locked: %s", type(error).__name__)
        except IdempotencyInFlight:
            return


async def _update(reservation: Reservation, changes: BSON) -> None:
    result = await collection(IdempotencyDocument).update_one(reservation.mine, {"$set": changes})
    if result.matched_count == 0:
        raise IdempotencyInFlight


async def delete_for_user(user: ObjectId) -> None:
    """Deletes what is kept of the requests of ``user``."""
    scope = f"user:{user}"
    # A range of whole ids: their index knows no ``_id.scope``.
    theirs = {"$gt": {"scope": scope, "key": MinKey()}, "$lt": {"scope": scope, "key": MaxKey()}}
    await delete_all(collection(IdempotencyDocument), {"_id": theirs})
