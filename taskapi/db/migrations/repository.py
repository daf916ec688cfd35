"""Which steps were applied to a database, and the lease under which one process at a time applies them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from pymongo.errors import DuplicateKeyError, PyMongoError

from taskapi.core.clock import utc_now
from taskapi.db.connection import BSON, Database
from taskapi.db.leases import Lease, LeasePolicy
from taskapi.db.migrations.documents import MigrationDocument
from taskapi.db.migrations.step import Migration
from taskapi.db.service_state import MIGRATION, ServiceStateDocument

LEASES: Final = LeasePolicy(timedelta(seconds=10), until="leased_until", holder="holder")
RENEW_SECONDS, POLL_SECONDS = 2, 0.2
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class LeaseLost(Exception):
    """Another process applies the migrations now, because this one was silent for too long."""


class MigrationRepository:
    """Reads and writes the collection of applied steps."""

    def __init__(self, database: Database) -> None:
        self._steps = database.collection(MigrationDocument)
        self._states = database.collection(ServiceStateDocument)

    async def records(self) -> Mapping[int, BSON]:
        """What is stored of each step that has begun, by its number. What others have stored there under other ids is ignored."""
        steps = self._steps.find({"_id": {"$type": ["int", "long"]}}).sort("_id", 1)
        return {each["_id"]: each async for each in steps}

    async def record_as_new(self, migrations: tuple[Migration, ...]) -> None:
        """Records all steps as applied, in a database that is set up by this version."""
        for each in migrations:
            await self.begin(each)
            await self.finish(each)

    async def begin(self, migration: Migration) -> None:
        """Records that a step has begun, for the first time or again."""
        new = {"name": migration.name, "phase": migration.phase.value, "started_at": utc_now(), "changed": 0, "finished_at": None}
        begun = {"$setOnInsert": new, "$set": {"skipped": 0}}  # a repeated step meets them again
        try:
            await self._steps.update_one({"_id": migration.number}, begun, upsert=True)
        except DuplicateKeyError:  # another process was first
            return

    async def add(self, migration: Migration, changed: int, skipped: int) -> None:
        """Adds to the numbers of documents of a step."""
        await self._steps.update_one({"_id": migration.number}, {"$inc": {"changed": changed, "skipped": skipped}})

    async def finish(self, migration: Migration) -> None:
        """Records that a step has finished."""
        await self._steps.update_one({"_id": migration.number, "finished_at": None}, {"$set": {"finished_at": utc_now()}})

    @asynccontextmanager
    async def leased(self) -> AsyncIterator["Held"]:
        """Waits until no other process applies migrations, and keeps others waiting during the block."""
        new = {"since": utc_now(), "leased_until": LONG_AGO, "holder": None}
        while True:
            try:
                await self._states.update_one({"_id": MIGRATION}, {"$setOnInsert": new}, upsert=True)
            except DuplicateKeyError:
                continue
            taken = await LEASES.take(self._states, {"_id": MIGRATION}, {"_id": 1}, projection={"_id": 1})
            if taken:
                break
            await asyncio.sleep(POLL_SECONDS)
        held = Held(taken[0])
        renewal = asyncio.create_task(self._renew(held))
        try:
            yield held
        finally:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)
            with suppress(PyMongoError):  # it ends by itself
                await held.lease.release(self._states)

    async def _renew(self, held: "Held") -> None:
        while not held.is_lost:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                held.is_lost = await held.lease.renew(self._states) is None
            except PyMongoError:  # the next batch fails as well, or the next renewal tells
                continue


class Held:
    """The lease of this process."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.is_lost = False

    def check(self) -> None:
        """Raises LeaseLost if another process may apply migrations by now."""
        if self.is_lost:
            raise LeaseLost
