"""The stored counters of attempts: one atomic write counts an attempt unless the counter is blocked, and blocks it.

All writes are relaxed: a crash may forget the last attempts.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from pymongo import ReturnDocument, UpdateOne
from pymongo.errors import PyMongoError

from taskapi.accounts.errors import TooManyAttempts
from taskapi.accounts.security.attempt_counters import Counter, block_of
from taskapi.accounts.security.documents import ThrottleDocument
from taskapi.core.clock import utc_now
from taskapi.db.connection import BSON, Database, relaxed_writes


class ThrottleRepository:
    """The counters of all accounts, IP addresses and e-mail addresses."""

    def __init__(self, database: Database) -> None:
        self._counters = relaxed_writes(database.collection(ThrottleDocument))

    async def is_live(self, counter: Counter) -> bool:
        """Whether a counter is stored and has not expired."""
        live = {"_id": counter.counter_id, "expires_at": {"$gt": utc_now()}}
        return await self._counters.find_one(live, {"_id": 1}) is not None

    async def count(self, counters: Sequence[Counter]) -> list[UpdateOne]:
        """Counts an attempt with each of the counters, and returns the writes that take it back.

        Raises:
            TooManyAttempts: one of them is blocked; nothing is counted.
        """
        now = utc_now()
        undo: list[UpdateOne] = []
        added: list[bytes] = []
        try:
            for counter in counters:
                before = await self._count(counter, now)
                undo.append(counter.undo(before, now))
                added += [] if before else [counter.counter_id]
        except (TooManyAttempts, PyMongoError):
            await self.write(undo)
            if added:  # or a blocked IP address could have one stored for each name that it invents
                await self._counters.delete_many({"_id": {"$in": added}, "failures": 0})
            raise
        return undo

    async def write(self, updates: Sequence[UpdateOne]) -> None:
        """Executes updates of counters."""
        if updates:
            await self._counters.bulk_write(list(updates), ordered=False)

    async def remove(self, counter: Counter) -> None:
        """Removes a counter, and those that were extended for it."""
        await self._counters.delete_one({"_id": counter.counter_id})
        await self.remove_known(counter)

    async def remove_known(self, counter: Counter) -> None:
        """Removes those counters that were extended for ``counter``."""
        await self._counters.delete_many({"account": counter.counter_id})

    async def _count(self, counter: Counter, now: datetime) -> BSON | None:
        """Counts an attempt, and returns the counter as it was before. Raises TooManyAttempts."""
        before: BSON | None = await self._counters.find_one_and_update(
            {"_id": counter.counter_id}, counter.count_pipeline(now), upsert=True, return_document=ReturnDocument.BEFORE
        )
        block = block_of(before or {})
        if block and (wait := block - now) > timedelta():
            raise TooManyAttempts(-(-wait // timedelta(seconds=1)))
        return before
