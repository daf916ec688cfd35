"""Whether a write would go through right now, asked on a connection that nothing else waits for."""

import asyncio
import time
from typing import Any

import pymongo
from pymongo import AsyncMongoClient
from pymongo.errors import ExecutionTimeout, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference

from taskapi.core.errors import DatabaseUnavailable
from taskapi.core.settings import Settings
from taskapi.db.connection import make_client
from taskapi.db.errors import to_domain_error

LOOK_SECONDS = 1.5  # for all of a look
GRACE_SECONDS = 0.2  # for the driver to notice that they have passed
FRESH_SECONDS = 0.2  # that what a look has found is true for those who ask next
CLOSE_SECONDS = 0.5
LINEARIZABLE_READ_CONCERN = 136  # the server's error code
UNREACHABLE = "MongoDB cannot be reached."
NO_PRIMARY = "MongoDB has no primary."
NO_MAJORITY = "MongoDB's primary does not reach a majority of its replica set."
OPTIONS: dict[str, Any] = {"serverMonitoringMode": "poll", "heartbeatFrequencyMS": 2000}


class PrimaryProbe:
    """Looks for a primary that has a majority of its replica set; many who ask at once share one look.

    It has a client of its own, without threads, so it waits neither for the pool nor for the threads of the queries.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: AsyncMongoClient[dict[str, Any]] | None = None  # opened by the first look
        self._look: asyncio.Task[str | None] | None = None
        self._looked_at = 0.0

    async def require_primary(self) -> None:
        """Returns when a write would go through.

        Raises:
            DatabaseUnavailable: the server cannot be reached, has no primary, or its primary has no majority; says which.
        """
        if self._look is None or (self._look.done() and time.monotonic() - self._looked_at > FRESH_SECONDS):
            self._look = asyncio.create_task(self._find_fault())
        fault = await asyncio.shield(self._look)  # who goes away takes nothing from the others
        if fault:
            raise DatabaseUnavailable(fault)

    async def close(self) -> None:
        """Ends the look and closes the connections."""
        if self._look:
            self._look.cancel()
            await asyncio.wait([self._look])
        if self._client:
            with pymongo.timeout(CLOSE_SECONDS):
                await self._client.close()

    async def _find_fault(self) -> str | None:
        """What stands in the way of a write, or None."""
        try:
            async with asyncio.timeout(LOOK_SECONDS + GRACE_SECONDS):
                with pymongo.timeout(LOOK_SECONDS):
                    return await self._ask()
        except (TimeoutError, PyMongoError):
            known = self._client and self._client.topology_description.has_known_servers
            return NO_PRIMARY if known else UNREACHABLE
        finally:
            self._looked_at = time.monotonic()

    async def _ask(self) -> str | None:
        began = time.monotonic()
        if self._client is None:
            self._client = make_client(AsyncMongoClient, self._settings, OPTIONS)
        database = self._client.get_database(self._settings.mongodb_database, read_preference=ReadPreference.PRIMARY)
        hello = await database.command("hello")
        if not hello.get("isWritablePrimary"):
            return NO_PRIMARY
        if "setName" not in hello:
            return None
        states = database.get_collection("service_state", read_concern=ReadConcern("linearizable"))
        left = max(1, round((LOOK_SECONDS - (time.monotonic() - began)) * 1000))
        try:
            with pymongo.timeout(0):  # the server cuts it, and has time to say so
                # It is answered when a majority has confirmed that the primary is one.
                await states.find_one({"_id": "ready"}, {"_id": 1}, max_time_ms=left)
        except OperationFailure as error:
            if isinstance(error, ExecutionTimeout) or error.code == LINEARIZABLE_READ_CONCERN:
                return NO_MAJORITY
            if isinstance(to_domain_error(error), DatabaseUnavailable):
                raise
        return None  # also for a server that does not know such reads
