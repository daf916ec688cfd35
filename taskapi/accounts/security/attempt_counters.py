"""Counters of attempts: how failures lead to waits, and the updates of stored counters."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pymongo import UpdateOne

from taskapi.core.clock import in_utc, utc_now
from taskapi.db.connection import BSON

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
        failures = {"$add": [{"$cond": [{"$gt": ["$forgotten_at", now]}, "$failures", 0]}, 1]}
        position = {"$max": [0, {"$min": [{"$subtract": [failures, first]}, steps - 1]}]}
        counted = {
            "failures": failures,
            "blocked_until": {"$arrayElemAt": [waits, position]},
            "forgotten_at": now + MEMORY,
            "expires_at": {"$max": ["$expires_at", now + MEMORY]},
        }
        unless_blocked = {"$cond": [{"$gt": ["$blocked_until", now]}, {}, counted]}
        return [{"$replaceRoot": {"newRoot": {"$mergeObjects": ["$$ROOT", unless_blocked]}}}]

    def undo(self, before: BSON | None, now: datetime) -> UpdateOne:
        """The write that takes back an attempt counted ``now`` in the counter as it was ``before``, and the block it caused.

        A block caused by a later attempt stays.
        """
        remembered = before["failures"] if before and in_utc(before["forgotten_at"]) > now else 0
        block = self.policy.end_of_wait(remembered + 1, now)
        changes = {
            "failures": {"$max": [{"$subtract": ["$failures", 1]}, 0]},
            "blocked_until": {"$cond": [{"$eq": ["$blocked_until", block]}, None, "$blocked_until"]},
        }
        return UpdateOne({"_id": self.counter_id}, [{"$set": changes}])
