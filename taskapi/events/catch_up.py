"""What followers have missed, from memory or from MongoDB's oplog: no more at a time than may wait for a follower."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence

from taskapi.db.change_streams import HistoryLost
from taskapi.events.follower import MAX_WAITING_BYTES
from taskapi.events.positions import Position
from taskapi.events.rendering import EventReader, EventRenderer, OwnChange
from taskapi.tasks.services.changes import Change, TaskChanges

AT_A_TIME = 500  # changes that are looked up at a time, at most
AT_FIRST = 16  # as a task can have more than 100 KB
CATCHING_UP = 4  # followers at a time that are told from the oplog
LOOKING_UP = 8  # who are told from memory: after a restart, thousands come back, whose queries would keep others waiting
AWAIT_MS = 20  # for what is in the oplog already: the connection is free soon after, when hundreds come back from an outage
CATCHING_UP_SECONDS = 120  # for the next changes of one of them


class CatchUp:
    """Finds what followers have missed. While they are told, others catch up."""

    def __init__(self, changes: TaskChanges, renderer: EventRenderer) -> None:
        self._changes, self._renderer = changes, renderer
        self._catching_up, self._looking_up = asyncio.Semaphore(CATCHING_UP), asyncio.Semaphore(LOOKING_UP)

    async def from_memory(self, changes: Sequence[Change], user: EventReader) -> AsyncGenerator[list[OwnChange], None]:
        """Those of the changes that are of the follower's tasks, in parts."""
        parts = _Parts(self._renderer, user)
        while changes:
            async with self._looking_up:
                own, changes = await parts.find(changes)
            yield own

    async def from_oplog(self, place: Position, reached: Position, user: EventReader) -> AsyncGenerator[list[OwnChange], None]:
        """The changes of the follower's tasks between two places, in parts. Raises HistoryLost."""
        parts = _Parts(self._renderer, user)
        while place.is_earlier(reached):
            own, place = await self._read_oplog(place, reached, parts)
            yield own

    async def _read_oplog(self, place: Position, reached: Position, parts: "_Parts") -> tuple[list[OwnChange], Position]:
        """The follower's next changes, and the place behind them. Raises HistoryLost."""
        own: list[OwnChange] = []
        watch = self._changes.watch(after=place.token, since=place.time_only, await_ms=AWAIT_MS)
        async with self._catching_up, watch as batches:
            deadline = time.monotonic() + CATCHING_UP_SECONDS
            async for batch in batches:
                remaining: Sequence[Change] = batch.changes
                while remaining:
                    found, remaining = await parts.find(remaining)
                    own += found
                    if remaining and _is_enough(own):
                        return own, Position.behind(batch.changes[-len(remaining) - 1].token)
                place = Position.behind(batch.token)
                if _is_enough(own) or not place.is_earlier(reached):
                    break
                if time.monotonic() > deadline:
                    raise HistoryLost
        return own, place


class _Parts:
    """Looks up the tasks of a follower's changes."""

    def __init__(self, renderer: EventRenderer, user: EventReader) -> None:
        self._renderer, self._user = renderer, user
        self._number = min(AT_FIRST, AT_A_TIME)  # of changes that are looked up next: fewer where tasks are large

    async def find(self, changes: Sequence[Change]) -> tuple[list[OwnChange], Sequence[Change]]:
        """Those of the next changes that are of the follower's tasks, and the changes that remain."""
        some = changes[: self._number]
        own = await self._renderer.find(some, self._user)
        size = 0
        for number, each in enumerate(own):
            size += len(each.task.raw)
            if number and size > MAX_WAITING_BYTES:
                self._number = some.index(each.change)
                return own[:number], changes[self._number :]
        if len(some) == self._number and 2 * size <= MAX_WAITING_BYTES:
            self._number = min(AT_A_TIME, 2 * self._number)
        return own, changes[len(some) :]


def _is_enough(own: Sequence[OwnChange]) -> bool:
    return len(own) >= AT_A_TIME or sum(len(each.task.raw) for each in own) >= MAX_WAITING_BYTES
