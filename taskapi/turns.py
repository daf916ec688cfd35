"""Sharing the event loop."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

TURN_SECONDS = 0.003
MAX_PAUSE_SECONDS = 1.0


class Turns:
    """Lets others run while somebody has much to do."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    async def give_way(self) -> None:
        """Goes on at once, or after the others when this took longer than 3 ms."""
        if time.monotonic() - self._since > TURN_SECONDS:
            await asyncio.sleep(0)
            self._since = time.monotonic()


@asynccontextmanager
async def background_batch() -> AsyncIterator[None]:
    """A batch of a job in the background. Afterwards it waits as long as the batch took: half of the time is the callers'."""
    began = time.monotonic()
    yield
    await asyncio.sleep(min(time.monotonic() - began, MAX_PAUSE_SECONDS))
