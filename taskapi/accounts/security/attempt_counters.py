"""Counters of attempts: how failures lead to waits, and the updates of stored counters."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pymongo import UpdateOne

from taskapi.core.clock import in_utc, utc_now
from taskapi.db.connection import BSON
from taskapi.db.expressions import is_time, time_or_null

MEMORY: Final = timedelta(hours=1)  # after the last failure, until all are forgotten


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """The wait after a number of failures: none below ``free_attempts``, then 1 s, doubled each time, up to ``max_seconds``."""

    kind: bytes
    free_attempts: int
    max_seconds: int = 900

    def end_of_wait(self, failures: int, now: datetime) -> datetime | None:
        """When the next attempt is allowed after this many failures, the last one ``now``; None: at once."""
        if failures < self.free_attempts:
            return None
        doublings = min(failures - self.free_attempts, self.max_seconds.bit_length())
        return now + timedelta(seconds=min(2**doublings, self.max_seconds))


@dataclass(frozen=True, slots=True)
class Counter:
    """What is counted under one id, and the updates that count."""

    counter_id: bytes
    policy: BackoffPolicy

    def extend(self, span: timedelta, account: bytes) -> UpdateOne:
        """The write that stores the counter, if it is not stored yet, and keeps it for ``span`` from now.

        ``account`` is the id of the counter whose removal removes this one.
        """
        now = utc_now()
        unused = {"failures": 0, "blocked_until": None, "forgotten_at": now}
        update = {"$setOnInsert": unused, "$set": {"expires_at": now + span, "account": account}}
        return UpdateOne({"_id": self.counter_id}, update, upsert=True)

    def count_pipeline(self, now: datetime) -> list[BSON]:
        """The update that counts an attempt, unless the counter is blocked."""
        # The waits by the number of failures from ``free_attempts - 1`` on; those before are none, those after the longest.
        first, steps = self.policy.free_attempts - 1, self.policy.max_seconds.bit_length() + 2
        waits = [self.policy.end_of_wait(first + n, now) for n in range(steps)]
        is_counted = {"$and": [{"$in": [{"$type": "$failures"}, ["int", "long"]]}, _is_after("$forgotten_at", now)]}
        failures = {"$add": [{"$cond": [is_counted, "$failures", 0]}, 1]}
        position = {"$max": [0, {"$min": [{"$subtract": [failures, first]}, steps - 1]}]}
        counted = {
            "failures": failures,
            "blocked_until": {"$arrayElemAt": [waits, position]},
            "forgotten_at": now + MEMORY,
            "expires_at": {"$max": [time_or_null("$expires_at"), now + MEMORY]},
        }
        unless_blocked = {"$cond": [_is_after("$blocked_until", now), {}, counted]}
        return [{"$replaceRoot": {"newRoot": {"$mergeObjects": ["$$ROOT", unless_blocked]}}}]

    def undo(self, before: BSON | None, now: datetime) -> UpdateOne:
        """The write that takes back an attempt counted ``now`` in the counter as it was ``before``, and the block it caused.

        A block caused by a later attempt stays.
        """
        block = self.policy.end_of_wait(_count_remembered(before or {}, now) + 1, now)
        changes = {
            "failures": {"$max": [{"$subtract": ["$failures", 1]}, 0]},
            "blocked_until": {"$cond": [{"$eq": ["$blocked_until", block]}, None, "$blocked_until"]},
        }
        return UpdateOne({"_id": self.counter_id}, [{"$set": changes}])


def block_of(stored: BSON) -> datetime | None:
    """Until when a stored counter is blocked, in UTC; None if it is not, or a script has damaged it."""
    block = stored.get("blocked_until")
    return in_utc(block) if isinstance(block, datetime) else None


def _count_remembered(stored: BSON, now: datetime) -> int:
    failures, until = stored.get("failures"), stored.get("forgotten_at")
    if not isinstance(failures, int) or isinstance(failures, bool) or not isinstance(until, datetime):
        return 0
    return failures if in_utc(until) > now else 0


def _is_after(path: str, now: datetime) -> BSON:
    return {"$and": [is_time(path), {"$gt": [path, now]}]}
