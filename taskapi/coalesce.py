"""Answering look-ups that arrive together with one query."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Coalescer(Generic[Key, Value]):
    """Gathers the keys asked for while a query is under way and fetches them all with the next one.

    The pattern of a group commit: the first look-up goes out at once; those that come while it runs share the next.
    A look-up never joins a query that has already been sent, so every answer is as fresh as one asked alone.
    """

    def __init__(self, fetch: Callable[[Collection[Key]], Awaitable[Mapping[Key, Value]]]) -> None:
        """``fetch`` takes the distinct keys and returns the values of those that exist."""
        self._fetch = fetch
        self._waiting: dict[Key, asyncio.Future[Value | None]] = {}
        self._worker: asyncio.Task[None] | None = None

    async def get(self, key: Key) -> Value | None:
        """The value of ``key``, or None. Raises whatever ``fetch`` raised for this round."""
        future = self._waiting.get(key)
        if future is None:
            future = self._waiting[key] = asyncio.get_running_loop().create_future()
            if self._worker is None:
                self._worker = asyncio.create_task(self._work())
        # Several callers may share the future: one that goes away must not cancel it for the others.
        return await asyncio.shield(future)

    async def _work(self) -> None:
        round_: dict[Key, asyncio.Future[Value | None]] = {}
        try:
            while self._waiting:
                round_, self._waiting = self._waiting, {}
                try:
                    found = await self._fetch(round_.keys())
                except Exception as error:
                    for future in round_.values():
                        future.set_exception(error)
                        future.exception()  # seen, also when every caller has gone away
                else:
                    for key, future in round_.items():
                        future.set_result(found.get(key))
        finally:
            self._worker = None
            for future in (*round_.values(), *self._waiting.values()):
                future.cancel()  # of those still open: this task was cancelled itself, and nobody may wait for ever
            self._waiting = {}
