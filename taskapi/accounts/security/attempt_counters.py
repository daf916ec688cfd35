"""Counters of attempts in MongoDB. One atomic write counts an attempt unless the counter is blocked, and blocks it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pymongo import ReturnDocument, UpdateOne

from taskapi.accounts.errors import TooManyAttempts
from taskapi.accounts.security.documents import ThrottleDocument
from taskapi.core.clock import in_utc, utc_now
from taskapi.db.connection import BSON, collection, relaxed_writes

MEMORY: Final = timedelta(hours=1)  # failures are forgotten so long after the last one


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """The wait after a number of failures: none below ``free_attempts``, then 1 s, doubled each time, up to ``longest`` s."""

    kind: bytes
    free_attempts: int
    longest: int = 900

    def end_of_wait(self, failures: int, now: datetime) -> datetime | None:
        """When the next attempt may come after that many, the last of them ``now``; None: at once."""
        if failures < self.free_attempts:
            return None
        doublings = min(failures - self.free_attempts, self.longest.bit_length())
        return now + timedelta(seconds=min(2**doublings, self.longest))


@dataclass(frozen=True, slots=True)
class Counter:
    """What is counted under ``identity``."""

    identity: bytes
    pace: BackoffPolicy

    async def is_live(self) -> bool:
        """Whether it is stored and has not expired."""
        live = {"_id": self.identity, "expires_at": {"$gt": utc_now()}}
        return await relaxed_writes(collection(ThrottleDocument)).find_one(live, {"_id": 1}) is not None

    def extend(self, span: timedelta, account: bytes) -> UpdateOne:
        """The write that stores the counter, if it is not, and keeps it for ``span`` from now.

        ``account`` is the identity of the counter whose ``forget_known`` removes it.
        """
        now = utc_now()
        unused = {"failures": 0, "blocked_until": None, "forgotten_at": now}
        return UpdateOne(
            {"_id": self.identity}, {"$setOnInsert": unused, "$set": {"expires_at": now + span, "account": account}}, upsert=True
        )

    async def remove(self) -> None:
        """Forgets what was counted."""
        await relaxed_writes(collection(ThrottleDocument)).delete_one({"_id": self.identity})

    async def forget_known(self) -> None:
        """Forgets the counters that were made to last for this one."""
        await relaxed_writes(collection(ThrottleDocument)).delete_many({"account": self.identity})

    async def count(self, now: datetime) -> UpdateOne:
        """Counts an attempt; the write that takes it back.

        Raises:
            TooManyAttempts: the counter is blocked; nothing has changed.
        """
        before = await relaxed_writes(collection(ThrottleDocument)).find_one_and_update(
            {"_id": self.identity}, self._counting(now), upsert=True, return_document=ReturnDocument.BEFORE
        )
        block = before and before["blocked_until"]
        if block and (wait := in_utc(block) - now) > timedelta():
            raise TooManyAttempts(-(-wait // timedelta(seconds=1)))
        remembered = before["failures"] if before and in_utc(before["forgotten_at"]) > now else 0
        return UpdateOne({"_id": self.identity}, _taking_back(self.pace.end_of_wait(remembered + 1, now)))

    def _counting(self, now: datetime) -> list[BSON]:
        # The waits by the number of failures from ``free_attempts - 1`` on; those before are none, those after the longest.
        waits = [self.pace.end_of_wait(self.pace.free_attempts - 1 + n, now) for n in range(self.pace.longest.bit_length() + 2)]
        failures = {"$add": [{"$cond": [{"$gt": ["$forgotten_at", now]}, "$failures", 0]}, 1]}
        position = {"$max": [0, {"$min": [{"$subtract": [failures, self.pace.free_attempts - 1]}, len(waits) - 1]}]}
        counted = {
            "failures": failures,
            "blocked_until": {"$arrayElemAt": [waits, position]},
            "forgotten_at": now + MEMORY,
            "expires_at": {"$max": ["$expires_at", now + MEMORY]},
        }
        unless_blocked = {"$cond": [{"$gt": ["$blocked_until", now]}, {}, counted]}
        return [{"$replaceRoot": {"newRoot": {"$mergeObjects": ["$$ROOT", unless_blocked]}}}]


async def count(counters: Sequence[Counter]) -> list[UpdateOne]:
    """Counts an attempt with each of the counters; the writes that take it back.

    Raises:
        TooManyAttempts: one of them is blocked; nothing is counted.
    """
    now = utc_now()
    undo: list[UpdateOne] = []
    try:
        for counter in counters:
            undo.append(await counter.count(now))  # noqa: PERF401 - what was counted before one that is blocked is taken back
    except TooManyAttempts:
        await write(undo)
        raise
    return undo


async def write(updates: Sequence[UpdateOne]) -> None:
    """Carries out updates of counters."""
    if updates:
        await relaxed_writes(collection(ThrottleDocument)).bulk_write(list(updates), ordered=False)


def _taking_back(block: datetime | None) -> list[BSON]:
    """The change that takes an attempt back, and the ``block`` that it led to; not one that came after it."""
    return [
        {
            "$set": {
                "failures": {"$max": [{"$subtract": ["$failures", 1]}, 0]},
                "blocked_until": {"$cond": [{"$eq": ["$blocked_until", block]}, None, "$blocked_until"]},
            }
        }
    ]
