"""Checks whether a write would succeed right now, on a connection of its own."""

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
from taskapi.db.codes import LINEARIZABLE_READ_CONCERN
from taskapi.db.connection import make_client
from taskapi.db.errors import to_domain_error
from taskapi.db.service_state import ServiceStateDocument

CHECK_SECONDS = 1.5  # for a whole check
GRACE_SECONDS = 0.2  # for the driver to notice that they have passed
FRESH_SECONDS = 0.2  # for which the result of a check is reused
CLOSE_SECONDS = 0.5
UNREACHABLE = "MongoDB cannot be reached."
NO_PRIMARY = "MongoDB has no primary."
NO_MAJORITY = "MongoDB's primary does not reach a majority of its replica set."
OPTIONS: dict[str, Any] = {"serverMonitoringMode": "poll", "heartbeatFrequencyMS": 2000}


class PrimaryProbe:
    """Checks for a primary that has a majority of its replica set. Concurrent callers share one check.

    It has a client of its own, without threads, so it waits for neither the connection pool nor the threads of queries.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: AsyncMongoClient[dict[str, Any]] | None = None  # opened by the first check
        self._check: asyncio.Task[str | None] | None = None
        self._checked_at = 0.0
        self.is_standalone = False  # by the last check

    async def require_primary(self) -> None:
        """Returns if a write would succeed.

        Raises:
            DatabaseUnavailable: the server cannot be reached, has no primary, or its primary has no majority.
        """
        if self._check is None or (self._check.done() and time.monotonic() - self._checked_at > FRESH_SECONDS):
            self._check = asyncio.create_task(self._find_fault())
        fault = await asyncio.shield(self._check)  # a cancelled caller does not cancel the check of the others
        if fault:
            raise DatabaseUnavailable(fault)

    async def close(self) -> None:
        """Cancels a running check and closes the connections."""
        if self._check:
            self._check.cancel()
            await asyncio.wait([self._check])
        if self._client:
            with pymongo.timeout(CLOSE_SECONDS):
                await self._client.close()

    async def _find_fault(self) -> str | None:
        """The reason why a write would fail, or None."""
        try:
            async with asyncio.timeout(CHECK_SECONDS + GRACE_SECONDS):
                with pymongo.timeout(CHECK_SECONDS):
                    return await self._ask()
        except (TimeoutError, PyMongoError):
            known = self._client and self._client.topology_description.has_known_servers
            return NO_PRIMARY if known else UNREACHABLE
        finally:
            self._checked_at = time.monotonic()

    async def _ask(self) -> str | None:
        began = time.monotonic()
        if self._client is None:
            self._client = make_client(AsyncMongoClient, self._settings, OPTIONS)
        database = self._client.get_database(self._settings.mongodb_database, read_preference=ReadPreference.PRIMARY)
        hello = await database.command("hello")
        if not hello.get("isWritablePrimary"):
            return NO_PRIMARY
        self.is_standalone = "setName" not in hello
        if self.is_standalone:
            return None
        states = database.get_collection(ServiceStateDocument.Settings.name, read_concern=ReadConcern("linearizable"))
        left = max(1, round((CHECK_SECONDS - (time.monotonic() - began)) * 1000))
        try:
            with pymongo.timeout(0):  # the server aborts it, and has time to report that
                # The server answers once a majority has confirmed the primary.
                await states.find_one({"_id": "ready"}, {"_id": 1}, max_time_ms=left)
        except OperationFailure as error:
            if isinstance(error, ExecutionTimeout) or error.code == LINEARIZABLE_READ_CONCERN:
                return NO_MAJORITY
            if isinstance(to_domain_error(error), DatabaseUnavailable):
                raise
        return None  # also if the server does not support such reads
