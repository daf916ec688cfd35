"""Turns at what only a few can use at the same time."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class FairTurns:
    """Lets ``most`` callers in at the same time, and ``most_of_account`` of one account: it delays others by its share alone."""

    def __init__(self, most: int, most_of_account: int) -> None:
        self._most_of_account = most_of_account
        self._turns = asyncio.Semaphore(most)  # first come, first served; the shares keep the queue fair
        self._shares: WeakValueDictionary[Hashable, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, account: Hashable) -> AsyncIterator[None]:
        """Waits for the turn of ``account``, and ends it with the block."""
        share = self._shares.setdefault(account, asyncio.Semaphore(self._most_of_account))
        async with share, self._turns:
            yield
