"""Sharing the event loop: long computations run in short slices, so that other requests continue."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakKeyDictionary

TURN_SECONDS = 0.0005
MAX_PAUSE_SECONDS = 1.0  # between two batches of a background job
MAX_SHARE_SECONDS = 0.02  # for everything else, after one turn


class Activity:
    """The number of requests that this process is handling."""

    requests = 0


activity = Activity()


class CooperativeYield:
    """Yields to other requests during a long computation.

    At most one long computation runs in each pass of the event loop. Afterwards the loop is free for as long as its turn took,
    unless nothing else is waiting.
    """

    def __init__(self) -> None:
        _since.setdefault(_task(), time.monotonic())  # of the whole task: all its parts share one turn

    async def checkpoint(self) -> None:
        """Returns at once; if this turn has taken longer than ``TURN_SECONDS``, waits for the next one."""
        now = time.monotonic()
        if now - _since.setdefault(_task(), now) > TURN_SECONDS:  # a streamed response continues in another task
            await self.wait()

    async def wait(self) -> None:
        """Waits for the next turn."""
        task = _task()
        await _queue().wait(task)
        _since[task] = time.monotonic()


@asynccontextmanager
async def background_batch() -> AsyncIterator[None]:
    """Runs a batch of a background job, then pauses for as long as it took, so that requests get half of the time."""
    began = time.monotonic()
    yield
    await asyncio.sleep(min(time.monotonic() - began, MAX_PAUSE_SECONDS))


class _Queue:
    """The computations that are waiting for a turn on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[tuple[asyncio.Task[Any], asyncio.Future[None]]] = deque()
        self._began = 0.0

    async def wait(self, task: "asyncio.Task[Any]") -> None:
        turn = self._loop.create_future()
        self._waiting.append((task, turn))
        if len(self._waiting) == 1:
            self._loop.call_soon(self._next)
        await turn

    def _next(self) -> None:
        (_, turn), self._began = self._waiting[0], self._loop.time()
        if not turn.done():  # the request was not cancelled
            turn.set_result(None)
        # It leaves the queue in the next pass, so what arrives in the meantime queues behind it.
        self._loop.call_soon(self._leave)

    def _leave(self) -> None:
        last, _ = self._waiting.popleft()
        if self._waiting and self._waiting[0][0] is last and activity.requests <= 1:  # nothing else is waiting
            self._next()
        elif self._waiting:
            self._loop.call_later(min(self._loop.time() - self._began, MAX_SHARE_SECONDS), self._next)


def _task() -> "asyncio.Task[Any]":
    task = asyncio.current_task()
    assert task
    return task


_since: WeakKeyDictionary["asyncio.Task[Any]", float] = WeakKeyDictionary()  # when the turn of each task began
_queues: WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue] = WeakKeyDictionary()


def _queue() -> _Queue:
    loop = asyncio.get_running_loop()
    queue = _queues.get(loop)
    if queue is None:
        queue = _queues[loop] = _Queue(loop)
    return queue
