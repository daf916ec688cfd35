"""Noting when something was last used, without a write for every use."""

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
    """Writes down that a key was used: at once the first time, then at most once a minute, while the caller goes on."""

    def __init__(self, write: Callable[[Key], Awaitable[None]]) -> None:
        self._write = write
        self._noted: dict[Key, float] = {}
        self._writing: set[asyncio.Task[None]] = set()

    def note(self, key: Key) -> None:
        """``key`` is used now."""
        now = time.monotonic()
        noted = self._noted.get(key)
        if noted is not None and now - noted < PAUSE_SECONDS:
            return
        if len(self._noted) >= MAX_KEYS:
            self._noted.clear()
        self._noted[key] = now
        task = asyncio.create_task(self._write_down(key))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def close(self) -> None:
        """Returns when what was noted is written."""
        await asyncio.gather(*self._writing)

    async def _write_down(self, key: Key) -> None:
        try:
            await self._write(key)
        except PyMongoError as error:  # it is noted again in a minute
            log.info("a last use was not written: %s", type(error).__name__)
