"""Sharing the event loop."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakKeyDictionary

TURN_SECONDS = 0.0005
MAX_PAUSE_SECONDS = 1.0  # of a job in the background
MAX_SHARE_SECONDS = 0.02  # for all others, after one turn


class Activity:
    """How many requests this process is answering."""

    requests = 0


activity = Activity()


class CooperativeYield:
    """Yields to other requests during a long computation.

    At most one long computation runs in each pass of the event loop, however many there are. Afterwards the loop is free for
    as long as that took, unless nothing else waits.
    """

    def __init__(self) -> None:
        _since.setdefault(_task(), time.monotonic())  # of the whole task: its parts have one turn together

    async def checkpoint(self) -> None:
        """Returns at once, or waits for the next turn when this one took longer than ``TURN_SECONDS``."""
        now = time.monotonic()
        if now - _since.setdefault(_task(), now) > TURN_SECONDS:  # an answer that is streamed goes on in another task
            await self.wait()

    async def wait(self) -> None:
        """Waits for the next turn."""
        task = _task()
        await _queue().wait(task)
        _since[task] = time.monotonic()


@asynccontextmanager
async def background_batch() -> AsyncIterator[None]:
    """A batch of a background job, followed by a pause of the same length, so that requests get half of the time."""
    began = time.monotonic()
    yield
    await asyncio.sleep(min(time.monotonic() - began, MAX_PAUSE_SECONDS))


class _Queue:
    """The computations that wait for their turn on one event loop."""

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
        # Leaves the queue only in the next pass: what arrives meanwhile waits behind it.
        self._loop.call_soon(self._leave)

    def _leave(self) -> None:
        last, _ = self._waiting.popleft()
        if self._waiting and self._waiting[0][0] is last and activity.requests <= 1:  # nothing else waits
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
