"""The stored deliveries: their queue, and what became of them."""

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime, timedelta
from random import SystemRandom
from typing import Final, NamedTuple

from bson import ObjectId
from pymongo import ASCENDING, DESCENDING, ReturnDocument
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure

from taskapi.core.clock import in_utc, utc_now
from taskapi.db.batches import delete_all
from taskapi.db.codes import BAD_VALUE, DUPLICATE_KEY, TYPE_MISMATCH
from taskapi.db.connection import BSON, Database, relaxed_writes
from taskapi.db.leases import Lease, LeasePolicy
from taskapi.db.snapshots import stream_batches
from taskapi.web.pagination import Page, PageQuery
from taskapi.webhooks.documents import MAX_IN_FLIGHT_TO_HOST, MAX_PENDING, PENDING, DeliveryError, WebhookDeliveryDocument
from taskapi.webhooks.payloads import PING

_random = SystemRandom()
LEASE: Final = LeasePolicy(timedelta(seconds=15), until="leased_until")  # longer than an attempt can take
KEPT: Final = timedelta(days=30)
NEWEST: Final = {"_id": DESCENDING}
NEXT: Final = {"next_attempt_at": ASCENDING, "event": ASCENDING}
SHORT_PAUSE: Final = timedelta(seconds=1)  # for a delivery that waits for one that is being attempted
SHOWN: Final = {"body": 0, "user": 0, "hook": 0, "leased_until": 0, "slot": 0, "give_up_at": 0, "expires_at": 0}
BATCH: Final = 100
UNCOUNTABLE: Final = (BAD_VALUE, TYPE_MISMATCH)  # MongoDB cannot increment a number that is too large, or no number


class HostBusy(Exception):
    """As many attempts are made at the host as may be."""


class LeasedDelivery(NamedTuple):
    """A delivery that this worker attempts."""

    stored: BSON
    lease: Lease


class DeliveryRepository:
    """The deliveries of all webhooks.

    The writes of an attempt wait for no other member of a replica set: if one is lost, the event is sent again.
    """

    def __init__(self, database: Database) -> None:
        self._deliveries = database.collection(WebhookDeliveryDocument)
        self._relaxed = relaxed_writes(self._deliveries)

    async def add(self, deliveries: Sequence[BSON]) -> None:
        """Stores deliveries; those of events that are stored already are left out."""
        for start in range(0, len(deliveries), BATCH):
            try:
                await self._deliveries.insert_many(list(deliveries[start : start + BATCH]), ordered=False)
            except BulkWriteError as error:
                if any(fault["code"] != DUPLICATE_KEY for fault in error.details["writeErrors"]):
                    raise

    async def room(self, hook_id: ObjectId) -> int:
        """How many more deliveries to a webhook may be pending."""
        return MAX_PENDING - await self._deliveries.count_documents({**PENDING, "hook": hook_id}, limit=MAX_PENDING)

    async def first_pending(self, hook_id: ObjectId, before: str) -> str | None:
        """The earliest event that is pending for a webhook; None if all come after a place in the change stream."""
        pending = {"$match": {**PENDING, "hook": hook_id, "event": {"$lt": before}}}
        found = await self._deliveries.aggregate([pending, {"$group": {"_id": None, "event": {"$min": "$event"}}}]).to_list(1)
        return str(found[0]["event"]) if found else None

    async def drop_pending(self, hook_id: ObjectId, before: str) -> None:
        """Deletes the pending deliveries to a webhook whose events come before a place in the change stream."""
        dropped = {**PENDING, "hook": hook_id, "event": {"$lt": before}}
        await delete_all(self._relaxed, dropped, 1000, order=NEXT)  # other indexes have what was delivered as well

    async def find_due_hooks(self) -> list[ObjectId]:
        """The webhooks with deliveries that are due."""
        return await self._deliveries.distinct("hook", {**PENDING, "next_attempt_at": {"$lte": utc_now()}})

    async def find_due(self, hook_id: ObjectId, limit: int) -> list[BSON]:
        """The deliveries to a webhook that are due: pings, and then those first that have been due longest."""
        due = {**PENDING, "hook": hook_id, "next_attempt_at": {"$lte": utc_now()}}
        shown = {"task": 1, "event": 1}
        pings = await self._deliveries.find({**due, "task": None, "type": PING}, shown, limit=limit).to_list(None)
        found = await self._deliveries.find(due, shown, sort=list(NEXT.items()), limit=limit).to_list(None)
        return [*pings, *(each for each in found if each not in pings)]

    async def waits_for_another(self, hook_id: ObjectId, due: BSON) -> bool:
        """Whether an earlier event of the same task is pending. If so, postpones all later ones until after its next attempt."""
        if not isinstance(due.get("task"), ObjectId):  # no task's, or a script has damaged it
            return False
        of_task = {**PENDING, "hook": hook_id, "task": due["task"]}
        first = await self._first(of_task)
        if first is None or first["_id"] == due["_id"]:
            return False
        later = max(in_utc(first["next_attempt_at"]), utc_now() + SHORT_PAUSE)
        behind = {**of_task, "event": {"$gt": first["event"]}, "next_attempt_at": {"$lt": later}}
        await self._relaxed.update_many(behind, {"$set": {"next_attempt_at": later}})
        now_first = await self._first(of_task)
        if now_first is None or now_first["_id"] == first["_id"]:
            return True
        # It ended meanwhile, and may have made this one due before.
        await self._relaxed.update_one({"_id": now_first["_id"], **PENDING}, {"$min": {"next_attempt_at": utc_now()}})
        return bool(now_first["_id"] != due["_id"])

    async def _first(self, pending: BSON) -> BSON | None:
        return await self._deliveries.find_one(pending, {"event": 1, "next_attempt_at": 1}, sort=[("event", ASCENDING)])

    async def lease(self, delivery_id: ObjectId, host: str) -> LeasedDelivery | None:
        """Leases a delivery that is due, and counts the attempt. None when it is being attempted, or was put off meanwhile.

        A number of attempts that a script has damaged is set to 0, and None returned.

        Raises HostBusy. The limit holds for all workers: a slot can be taken once, by the unique index.
        """
        try:
            return await self._lease(delivery_id, host)
        except HostBusy:
            if not await self._free_slots(host):
                raise
            return await self._lease(delivery_id, host)

    async def _free_slots(self, host: str) -> bool:
        """Takes back the slots of attempts that nobody ended in time: their worker was killed. Whether there were any."""
        ended = {"slot": {"$in": _slots(host)}, **LEASE.free(utc_now())}
        return (await self._relaxed.update_many(ended, {"$unset": {"slot": ""}})).modified_count > 0

    async def _lease(self, delivery_id: ObjectId, host: str) -> LeasedDelivery | None:
        now = utc_now()
        lease = LEASE.begin(delivery_id, now)
        free = {"_id": delivery_id, **PENDING, "next_attempt_at": {"$lte": now}, **LEASE.free(now)}
        values = {**lease.values, "next_attempt_at": lease.values[LEASE.until]}  # it is not due until then
        for slot in _random.sample(_slots(host), MAX_IN_FLIGHT_TO_HOST):
            update = {"$set": {**values, "slot": slot}, "$inc": {"attempts": 1}}
            try:
                found = await self._relaxed.find_one_and_update(free, update, return_document=ReturnDocument.AFTER)
            except DuplicateKeyError:
                continue
            except OperationFailure as error:
                if error.code not in UNCOUNTABLE:
                    raise
                await self._relaxed.update_one(free, {"$set": {"attempts": 0}})
                return None
            return LeasedDelivery(found, lease) if found else None
        raise HostBusy

    async def finish(self, delivery: LeasedDelivery, state: BSON, outcome: BSON) -> None:
        """Ends an attempt, unless another worker has leased the delivery since; the next event of the task is then due.

        If it failed, and ``retry`` was called meanwhile, the delivery stays due, whatever ``state`` says.
        """
        mine, ended = delivery.lease.mine, {"leased_until": utc_now(), **outcome}
        is_success = state.get("status") == "delivered"
        not_retried = {} if is_success else {"attempts": delivery.stored["attempts"]}  # ``retry`` sets them to 0
        written = await self._relaxed.update_one({**mine, **not_retried}, {"$set": {**ended, **state}, "$unset": {"slot": ""}})
        if not written.matched_count:
            await self._relaxed.update_one(mine, {"$set": ended, "$unset": {"slot": ""}})
        task = delivery.stored.get("task")
        if task is not None and state.get("status", "pending") != "pending":
            following = {**PENDING, "hook": delivery.stored["hook"], "task": task}
            await self._relaxed.find_one_and_update(
                following, {"$min": {"next_attempt_at": utc_now()}}, {"_id": 1}, sort=[("event", ASCENDING)]
            )

    async def give_back(self, delivery: LeasedDelivery) -> None:
        """Ends an attempt that was broken off; the delivery is due again."""
        now, before = utc_now(), delivery.stored["attempts"] - 1  # more than now if ``retry`` was called meanwhile
        update = {"$set": {"leased_until": now, "next_attempt_at": now}, "$unset": {"slot": ""}, "$min": {"attempts": before}}
        await self._relaxed.update_one(delivery.lease.mine, update)

    async def cancel(self, hook_id: ObjectId, error: DeliveryError) -> None:
        """Ends all pending deliveries to a webhook."""
        update = {"$set": {"status": "failed", "error": error}, "$unset": {"slot": ""}}
        await self._deliveries.update_many({**PENDING, "hook": hook_id}, update)

    async def retry(self, user: ObjectId, hook_id: ObjectId, delivery_id: ObjectId | None, give_up_at: datetime) -> BSON | None:
        """Has a delivery attempted now, whatever became of it, and keeps it as long as a new one.

        None when the account has no such delivery.
        """
        now = utc_now()
        values = {"status": "pending", "attempts": 0, "next_attempt_at": now, "give_up_at": give_up_at, "expires_at": now + KEPT}
        theirs = {"_id": delivery_id, "hook": hook_id, "user": user}
        return await self._deliveries.find_one_and_update(theirs, {"$set": values}, SHOWN, return_document=ReturnDocument.AFTER)

    async def find_pending(self, hook_id: ObjectId, kind: str) -> BSON | None:
        """A pending delivery of this type."""
        return await self._deliveries.find_one({**PENDING, "hook": hook_id, "task": None, "type": kind}, SHOWN)

    async def find_page(self, query: PageQuery, matching: BSON, milliseconds: int) -> Page[BSON]:
        """A page of the matching deliveries, newest first, found within ``milliseconds``."""
        return await query.find(self._deliveries, matching, NEWEST, SHOWN, milliseconds)

    def stream_for_user(self, user: ObjectId) -> AsyncGenerator[list[BSON], None]:
        """The deliveries of an account in batches, oldest first."""

        def stages(last: BSON | None) -> list[BSON]:
            after = {"_id": {"$gt": last["_id"]}} if last else {}
            return [{"$match": {"user": user, **after}}, {"$sort": {"_id": ASCENDING}}]

        return stream_batches(self._deliveries, stages, BATCH)

    async def delete_for_hook(self, hook_id: ObjectId) -> None:
        """Deletes the deliveries to a webhook."""
        await delete_all(self._deliveries, {"hook": hook_id})

    async def delete_for_user(self, user: ObjectId) -> None:
        """Deletes the deliveries of an account."""
        await delete_all(self._deliveries, {"user": user})


def _slots(host: str) -> list[str]:
    """What the attempts at a host take, one each."""
    return [f"{host} {number}" for number in range(MAX_IN_FLIGHT_TO_HOST)]
