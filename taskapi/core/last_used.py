"""Records when something was last used, without a write for every use."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from pymongo.errors import PyMongoError

Key = TypeVar("Key", bound=Hashable)

PAUSE_SECONDS = 60
MAX_KEYS = 100_000

log = logging.getLogger(__name__)


class LastUsedRecorder(Generic[Key]):
    """Records when a key was last used, at most once a minute per key, in the background."""

    def __init__(self, write: Callable[[Key], Awaitable[None]]) -> None:
        self._write = write
        self._noted: dict[Key, float] = {}
        self._writing: set[asyncio.Task[None]] = set()

    def touch(self, key: Key) -> None:
        """Records that ``key`` was used now."""
        now = time.monotonic()
        noted = self._noted.get(key)
        if noted is not None and now - noted < PAUSE_SECONDS:
            return
        if len(self._noted) >= MAX_KEYS:
            self._noted.clear()
        self._noted[key] = now
        task = asyncio.create_task(self._write_now(key))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def close(self) -> None:
        """Waits until everything recorded is written."""
        await asyncio.gather(*self._writing)

    async def _write_now(self, key: Key) -> None:
        try:
            await self._write(key)
        except PyMongoError as error:  # it will be recorded again in a minute
            log.info("a last use was not recorded: %s", type(error).__name__)
