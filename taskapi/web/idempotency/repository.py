"""The stored idempotency keys: each write here is atomic, and decides which of several runs of a request goes on."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar

from bson import MaxKey, MinKey, ObjectId
from pydantic import ValidationError
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from taskapi.core.clock import utc_now
from taskapi.core.ids import new_seed
from taskapi.db import shapes
from taskapi.db.batches import delete_all
from taskapi.db.connection import BSON, Database, Session, acknowledged
from taskapi.db.leases import Lease, LeasePolicy
from taskapi.db.transactions import transaction
from taskapi.web.idempotency.documents import IdempotencyDocument

Result = TypeVar("Result")

KEPT: Final = timedelta(hours=24)  # from the first request


@dataclass(frozen=True, slots=True)
class Reservation:
    """The right to run a request, until another run takes it over."""

    lease: Lease
    seed: ObjectId
    fingerprint: bytes | None
    earlier: bytes | None = None  # the body of the answer of a run that has left something undone


class IdempotencyRepository:
    """The keys of all callers. A run holds its key for the time ``lease``, which it renews."""

    def __init__(self, database: Database, lease: timedelta) -> None:
        self._records = database.collection(IdempotencyDocument)
        self.lease = LeasePolicy(lease, until="locked_until", holder="holder")

    async def add(self, scope: str, key: str, fingerprint: bytes | None) -> Reservation | None:
        """Reserves ``key`` of the caller ``scope``; None when it is stored already."""
        record_id = _record_id(scope, key)
        lease, record = self._new(record_id, fingerprint)
        try:
            await self._records.insert_one({"_id": record_id, **record})
        except DuplicateKeyError:
            return None
        return Reservation(lease, record["seed"], fingerprint)

    async def find(self, scope: str, key: str) -> BSON | None:
        """The record of a key that a majority holds: its answer may have been stored together with what it says."""
        return await acknowledged(self._records).find_one({"_id": _record_id(scope, key)})

    async def replace_expired(self, record: BSON, fingerprint: bytes | None) -> Reservation | None:
        """Reserves a key whose ``record`` has expired, as a new one; None when another run was quicker."""
        lease, changes = self._new(record["_id"], fingerprint)
        return await self._take(record, lease, changes)

    async def replace_damaged(self, record: BSON, fingerprint: bytes | None) -> Reservation | None:
        """Reserves a key whose ``record`` a script has damaged: if its seed is left, this run gives the same ids.

        None when another run was quicker.
        """
        lease, changes = self._new(record["_id"], fingerprint)
        seed = record.get("seed")
        return await self._take(record, lease, {**changes, **({"seed": seed} if isinstance(seed, ObjectId) else {})})

    async def take_over(self, record: BSON, fingerprint: bytes | None) -> Reservation | None:
        """Reserves a key whose last run has left no answer in ``record``: this one gives the same ids.

        None when another run was quicker.
        """
        lease = self.lease.begin(record["_id"], utc_now())
        return await self._take(record, lease, {**lease.values, "fingerprint": record["fingerprint"] or fingerprint})

    async def update(self, reservation: Reservation, values: BSON, session: Session | None = None) -> bool:
        """Sets ``values`` in the record. False when the reservation was lost."""
        result = await self._records.update_one(reservation.lease.mine, {"$set": values}, session=session)
        return result.matched_count == 1

    async def transaction(self, work: Callable[[Session | None], Awaitable[Result]], *, required: bool) -> Result:
        """Runs ``work`` with the session of a transaction, and again if MongoDB asks to retry it.

        On a standalone server, runs it without a session, or raises TransactionsUnsupported if one is ``required``.
        """
        return await transaction(self._records, work, required=required)

    async def renew(self, reservation: Reservation) -> bool:
        """Renews the lease. False when the reservation was lost."""
        return await reservation.lease.renew(self._records) is not None

    async def release(self, reservation: Reservation, values: BSON) -> None:
        """Ends the lease: the next run may take the key over. Sets ``values`` in the record."""
        await reservation.lease.release(self._records, values)

    async def delete_for_user(self, user: ObjectId) -> None:
        """Deletes what is kept of the requests of ``user``."""
        scope = f"user:{user}"
        # A range of whole ids: their index knows no ``_id.scope``.
        theirs = {"$gt": _record_id(scope, MinKey()), "$lt": _record_id(scope, MaxKey())}
        await delete_all(self._records, {"_id": theirs})

    def _new(self, record_id: BSON, fingerprint: bytes | None) -> tuple[Lease, BSON]:
        now = utc_now()
        lease = self.lease.begin(record_id, now)
        return lease, {
            **lease.values,
            "seed": new_seed(),
            "fingerprint": fingerprint,
            "status": None,
            "headers": None,
            "body": None,
            "created_at": now,
            "expires_at": now + KEPT,
        }

    async def _take(self, record: BSON, lease: Lease, changes: BSON) -> Reservation | None:
        unchanged = {name: record.get(name) for name in ("_id", "holder", "locked_until")}
        taken = await self._records.find_one_and_update(
            unchanged, {"$set": changes}, {"seed": 1, "fingerprint": 1, "body": 1}, return_document=ReturnDocument.AFTER
        )
        return Reservation(lease, taken["seed"], taken["fingerprint"], taken["body"]) if taken else None


def is_sound(record: BSON) -> bool:
    """Whether this service has written a record: a script may have damaged it."""
    try:
        shapes.validate(IdempotencyDocument, record)
    except ValidationError:
        return False
    return len({record[name] is None for name in ("status", "headers", "body")}) == 1


def _record_id(scope: str, key: Any) -> BSON:
    return {"scope": scope, "key": key}
