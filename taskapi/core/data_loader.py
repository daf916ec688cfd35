"""One query for look-ups that arrive together."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from itertools import chain, islice
from typing import Generic, TypeVar

from taskapi.core.errors import ServerBusy

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

MAX_KEYS = 100
SLOW_SECONDS = 0.5  # a write that waits for somebody's transaction; hardly any other takes this long
MAX_WAIT_SECONDS = 2.0  # for a query to start; without MongoDB, running queries end by their own timeouts


class DataLoader(Generic[Key, Value]):
    """Collects the keys requested in one turn of the event loop, or while queries are running, and fetches them with one query.

    This is the pattern of a group commit: a single look-up is sent at once; those that arrive while it runs share the next query.
    A look-up never joins a query that has already been sent, so every answer is as fresh as if it had its own query.
    """

    def __init__(
        self,
        fetch: Callable[[Collection[Key]], Awaitable[Mapping[Key, Value]]],
        queries: int = 1,
        max_keys: int = MAX_KEYS,
        on_slow: Callable[[Collection[Key]], None] | None = None,
    ) -> None:
        """``fetch`` takes at most ``max_keys`` distinct keys and returns the values of those that exist.

        ``queries`` is how many of them run at the same time. With ``on_slow``, one that takes longer than ``SLOW_SECONDS`` no
        longer counts, so that it keeps none but its own keys waiting, which are passed to ``on_slow``.
        """
        self._fetch, self._on_slow = fetch, on_slow
        self._queries, self._max_keys = queries, max_keys
        self._waiting: dict[Key, list[asyncio.Future[Value | None]]] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self._overtaken: set[asyncio.Task[None]] = set()  # that are slow
        self._since = 0.0  # when the first waiting key arrived, or the last query started after it
        self._is_starting = False  # a query is starting that has not taken its keys yet

    async def get(self, key: Key) -> Value | None:
        """The value of ``key``, or None.

        Raises:
            ServerBusy: those that came before have waited too long already.
            Exception: whatever ``fetch`` raised for this query.
        """
        return await self.ask(key)

    def ask(self, key: Key) -> "asyncio.Future[Value | None]":
        """As ``get``, for a caller that does something else before it waits for the value."""
        # One future per caller, so that a cancelled request does not affect the others.
        future: asyncio.Future[Value | None] = asyncio.get_running_loop().create_future()
        if self._waiting and time.monotonic() - self._since > MAX_WAIT_SECONDS:
            future.set_exception(ServerBusy())
        elif key in self._waiting:
            self._waiting[key].append(future)
        else:
            if not self._waiting:
                self._since = time.monotonic()
            self._waiting[key] = [future]
            self._start_worker()
        return future

    def _start_worker(self) -> None:
        if self._waiting and not self._is_starting and len(self._workers) < self._queries:
            self._is_starting = True
            worker = asyncio.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._ended)

    async def _work(self) -> None:
        self._is_starting = False
        this = asyncio.current_task()
        while self._waiting and this in self._workers:
            asked = dict(islice(self._waiting.items(), self._max_keys))
            for key in asked:
                del self._waiting[key]
            self._since = time.monotonic()
            self._start_worker()  # for the remaining keys
            timer = self._on_slow and asyncio.get_running_loop().call_later(SLOW_SECONDS, self._overtake, this, asked)
            try:
                await self._answer(asked)
            finally:
                if timer:
                    timer.cancel()

    def _overtake(self, worker: "asyncio.Task[None]", asked: Collection[Key]) -> None:
        """Lets another query run in the place of one that is slow."""
        if self._on_slow:
            self._on_slow(asked)
        self._workers.discard(worker)
        self._overtaken.add(worker)
        self._start_worker()

    def _ended(self, worker: "asyncio.Task[None]") -> None:
        self._workers.discard(worker)
        self._overtaken.discard(worker)
        if worker.cancelled():
            self._is_starting = False
            _cancel(self._waiting)
            self._waiting = {}
        self._start_worker()  # for a key that arrived after its last look

    async def _answer(self, asked: dict[Key, list[asyncio.Future[Value | None]]]) -> None:
        try:
            found = await self._fetch(asked.keys())
        except Exception as error:
            for future in chain.from_iterable(asked.values()):
                if not future.done():
                    future.set_exception(error)
        else:
            for key, futures in asked.items():
                for future in futures:
                    if not future.done():
                        future.set_result(found.get(key))
        finally:
            _cancel(asked)  # if the worker itself was cancelled, no caller may wait forever


def _cancel(waiting: Mapping[Key, list[asyncio.Future[Value | None]]]) -> None:
    for future in chain.from_iterable(waiting.values()):
        future.cancel()
