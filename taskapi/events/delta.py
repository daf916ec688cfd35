"""Delta sync: the tasks of an account that have changed since a position, in pages, for clients that keep a copy.

It reads the tasks themselves, not the change stream, so it works for as long as tombstones are kept. docs/changes.md says why
nothing is missed: the next run begins at the time at which this one began, less an overlap.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import bson
from bson.datetime_ms import DatetimeMS

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.clock import utc_now
from taskapi.events.errors import PositionExpired
from taskapi.events.positions import Page, Position, PositionCodec
from taskapi.events.rendering import event_json
from taskapi.events.schemas import EventType
from taskapi.tasks.query.changed import Place
from taskapi.tasks.services.changed_tasks import ChangedTask, ChangedTasks
from taskapi.tasks.services.changes import TaskChanges
from taskapi.tasks.storage.rendering import TaskRenderer

OVERLAP_MS: Final = 5 * 60 * 1000  # at least the longest write and the difference of two clocks together
AT_ONCE = 20  # tasks that are rendered without yielding to other requests
AHEAD_SECONDS = 60  # that a position may be ahead of a primary that was frozen


class ChangesPage(NamedTuple):
    """A page of events as JSON, and the position behind it."""

    events: list[bytes]
    next: str
    has_more: bool

    def json(self) -> bytes:
        """The page as callers see it."""
        more = b"true" if self.has_more else b"false"
        return b'{"changes":[%b],"next":"%b","more":%b}' % (b",".join(self.events), self.next.encode(), more)


class _Run(NamedTuple):
    """A reading of all that has changed, in one page or several. Times are in ms since 1970."""

    time: bson.Timestamp  # when it began: each page has what was written by then, or later
    low: int | None  # it reads what has changed from then on; None: all active tasks
    after: Place | None  # the last task that was read

    def position(self, place: Place) -> Position:
        """The place behind a task."""
        return Position(self.time, page=Page(self.low, place.ms, place.task_id))


@dataclass(frozen=True, slots=True)
class DeltaSync:
    """Finds what has changed."""

    changes: TaskChanges
    tasks: ChangedTasks
    renderer: TaskRenderer
    positions: PositionCodec
    kept_ms: int  # how long a tombstone is kept

    async def find(self, user: UserRead, since: str | None, limit: int) -> ChangesPage:
        """A page of at most ``limit`` events of ``user``'s tasks. Without ``since``, all active tasks: a first run.

        Raises:
            InvalidPosition: ``since`` is not a position of this account.
            PositionExpired: tombstones of tasks that were purged since may be gone, or it belongs to another database.
            StreamsUnsupported: MongoDB is standalone.
        """
        run = await self._begin(None if since is None else self.positions.read(since, user.object_id))
        if run.low is None:
            found = await self.tasks.find_first(user.object_id, run.after, limit, run.time)
        else:
            found = await self.tasks.find_changed(user.object_id, run.low, run.after, limit, run.time)
        events = await self._render(found.changes, run, user)
        behind = run.position(found.changes[-1].place) if found.has_more else Position(run.time)
        return ChangesPage(events, self.positions.write(behind, user.object_id), found.has_more)

    async def _begin(self, since: Position | None) -> _Run:
        """The run that ``since`` begins or goes on with."""
        now = await self.changes.now()
        if since is None:
            return _Run(now, None, None)
        began = since.time.time * 1000
        low = since.page.low if since.page else began - OVERLAP_MS
        if (began if low is None else low) <= _now_ms() - self.kept_ms or since.time.time > now.time + AHEAD_SECONDS:
            raise PositionExpired
        if since.page is None:
            return _Run(now, low, None)
        # A primary that was frozen says an earlier time, until it learns that it is none: then the next run begins earlier.
        return _Run(min(since.time, now), low, Place(since.page.ms, since.page.task_id))

    async def _render(self, changes: Sequence[ChangedTask], run: _Run, user: UserRead) -> list[bytes]:
        events = list[bytes]()
        for number, change in enumerate(changes, 1):
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)  # a long page must not keep other requests waiting
            task = None if change.task is None else self.renderer.render(change.task, user).json
            event_id = self.positions.write(run.position(change.place), user.object_id)
            kind = EventType[change.kind.name]
            events.append(event_json(event_id, kind, change.at, change.task_id, change.version, change.changed, task))
        return events


def _now_ms() -> int:
    return int(DatetimeMS(utc_now()))
