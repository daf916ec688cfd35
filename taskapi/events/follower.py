"""Followers of the events of an account. Each has a bounded buffer: a slow one costs no memory, and delays no other."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from enum import StrEnum
from math import inf
from typing import Final, NamedTuple

from taskapi.events.positions import Position
from taskapi.events.rendering import EventReader, OwnChange, RenderedEvent

MAX_WAITING = 500  # changes
MAX_WAITING_BYTES = 2 * 1024 * 1024  # of their tasks

Accept = Callable[[Sequence[OwnChange]], Awaitable[Sequence[OwnChange]]]
"""Chooses those changes that a follower is told of."""


class ResetReason(StrEnum):
    """Why a follower has to load everything anew."""

    expired = "expired"  # MongoDB's oplog does not go back to the position
    other_database = "other_database"
    ahead = "ahead"  # the position is in the future: the database is an earlier state of itself
    incomplete = "incomplete"  # the position is within a first run through all tasks that was not finished
    slow = "slow"
    history_lost = "history_lost"  # MongoDB cannot go on from the place that was reached


RESET_MESSAGES: Final = {
    ResetReason.expired: "It is no longer known what happened since. Load your list anew.",
    ResetReason.other_database: "The position belongs to another database. Load your list anew.",
    ResetReason.ahead: "The position is ahead of this database, an earlier state of itself. Load your list anew.",
    ResetReason.incomplete: "The position is within a first run through your tasks. Load your list anew.",
    ResetReason.slow: "You read more slowly than things happen. Load your list anew.",
    ResetReason.history_lost: "The database does not know what happened since the last event. Load your list anew.",
}


class EndReason(StrEnum):
    """Why a follower is told of nothing more."""

    session_ended = "session_ended"
    account_disabled = "account_disabled"
    token_expired = "token_expired"  # noqa: S105
    scope_lost = "scope_lost"
    server_stopping = "server_stopping"


class Hello(NamedTuple):
    """The place from which the events that follow begin."""

    position: str


class Reset(NamedTuple):
    """What has happened up to the position is not told: load everything after this message, then go on with what follows."""

    reason: ResetReason
    position: str


class End(NamedTuple):
    """Nothing follows."""

    reason: EndReason


class Heartbeat(NamedTuple):
    """For a while, there was nothing to tell up to the position."""

    position: str


Message = Hello | RenderedEvent | Reset | Heartbeat | End


class Follower:
    """Somebody who follows the events of ``user``, and what they were not told of yet."""

    __slots__ = ("_bytes", "_has_something", "_waiter", "_waiting", "accept", "beat_at", "ended", "is_given_up", "reset", "user")

    def __init__(self, user: EventReader, accept: Accept | None) -> None:
        self.user = user
        self.accept = accept
        self.ended: EndReason | None = None
        self.reset: ResetReason | None = None  # what waited before was dropped
        self.beat_at = inf  # by the monotonic clock
        self.is_given_up = False  # others have waited for it to read, and do not again until it does
        self._waiting: list[OwnChange] = []
        self._bytes = 0
        self._has_something = False
        self._waiter: asyncio.Future[None] | None = None  # an Event would keep a queue of them, which thousands do not need

    @property
    def is_half_full(self) -> bool:
        """Whether so much waits that what follows may be too much."""
        return 2 * len(self._waiting) > MAX_WAITING or 2 * self._bytes > MAX_WAITING_BYTES

    def put(self, changes: Iterable[OwnChange]) -> None:
        """Adds changes to what waits; drops all of it if it becomes too much."""
        for each in changes:
            self._waiting.append(each)
            self._bytes += len(each.task.raw)
        if len(self._waiting) > MAX_WAITING or self._bytes > MAX_WAITING_BYTES:
            self.start_anew(ResetReason.slow)
        self._wake()

    def start_anew(self, reason: ResetReason) -> None:
        """Drops what waits, and has the follower load everything anew."""
        self._waiting, self._bytes = [], 0
        self.reset = reason
        self._wake()

    def end(self, reason: EndReason) -> None:
        """Has nothing more told to the follower."""
        self.ended = self.ended or reason
        self._wake()

    async def take(self) -> list[OwnChange]:
        """Waits for something, or until ``beat_at``, and returns the changes. Look at ``ended`` and ``reset`` first."""
        if not self._has_something:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._has_something = self.is_given_up = False
        taken, self._waiting, self._bytes = self._waiting, [], 0
        return taken

    def beat(self, now: float) -> None:
        """Ends the waiting if it is time to."""
        if now >= self.beat_at and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _wake(self) -> None:
        self._has_something = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def choose(self, changes: Sequence[OwnChange], after: Position) -> Sequence[OwnChange]:
        """Those of the changes that come after a place and that the follower is told of."""
        later = [each for each in changes if after.is_before(each.change.token)]
        return await self.accept(later) if self.accept and later else later
