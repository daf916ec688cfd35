"""What has changed of an owner's tasks since a time, and all tasks for a first run: for clients that keep a copy."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import bson
from bson import ObjectId
from bson.datetime_ms import DatetimeMS

from taskapi.core.clock import in_utc
from taskapi.db.connection import BSON
from taskapi.db.raw import Raw
from taskapi.tasks.query.changed import Place, changed_stages, dated_stages, undated_stages
from taskapi.tasks.services.changes import PUBLIC_NAMES, SERVERS_OWN, ChangeKind
from taskapi.tasks.storage.change_repository import ChangeRepository
from taskapi.tasks.storage.indexes import ALL_OF_OWNER, CHANGED_OF_OWNER
from taskapi.tasks.storage.reading import version_of
from taskapi.tasks.storage.scope import Scope

MAX_READ = 100  # tasks at once
MAX_BYTES = 4 * 1024 * 1024  # of one page

_Stages = Callable[[Place | None, int], list[BSON]]


class ChangedTask(NamedTuple):
    """The last change of a task."""

    kind: ChangeKind
    task_id: ObjectId
    at: datetime
    version: int
    changed: tuple[str, ...]  # the public fields that were changed, as far as the history tells
    task: Raw | None  # as it is stored now; None if it is in the trash or purged
    place: Place  # where the next page begins


class ChangedPage(NamedTuple):
    """Some changes, and whether there are more."""

    changes: list[ChangedTask]
    has_more: bool


@dataclass(frozen=True, slots=True)
class ChangedTasks:
    """Reads an owner's tasks as they are at a time or later. What is read cannot be rolled back."""

    tasks: ChangeRepository
    milliseconds: int  # the time limit of a query

    async def find_first(self, owner_id: ObjectId, after: Place | None, limit: int, time: bson.Timestamp) -> ChangedPage:
        """A page of the active tasks, newest first. A task that is changed meanwhile comes once, or is found by its change."""
        scope = Scope.of_id(owner_id)
        page = _Page(limit)
        if after is None or after.ms is not None:
            await self._fill(page, partial(dated_stages, scope), after, time, ALL_OF_OWNER)
            after = None
        if not page.is_full:
            await self._fill(page, partial(undated_stages, scope), after, time, ALL_OF_OWNER)
        return page.cut()

    async def find_changed(
        self, owner_id: ObjectId, low: int, after: Place | None, limit: int, time: bson.Timestamp
    ) -> ChangedPage:
        """A page of the tasks with ``changed_at`` from ``low`` on, in ms since 1970: oldest change first, in every state.

        A task that changes while pages are read moves to a later page.
        """
        page = _Page(limit)
        await self._fill(page, partial(changed_stages, Scope.of_id(owner_id), low), after, time, CHANGED_OF_OWNER)
        return page.cut()

    async def _fill(self, page: "_Page", stages: _Stages, after: Place | None, time: bson.Timestamp, hint: str) -> None:
        while not page.is_full:
            most = min(MAX_READ, page.limit + 1 - len(page.changes))
            found = await self.tasks.aggregate_after(stages(after, most), time, self.milliseconds, hint)
            for each in found:
                page.add(each)
            if len(found) < most:
                return
            after = page.changes[-1].place


class _Page:
    """A page that is being read, with one task more than it will have."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.changes: list[ChangedTask] = []
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        return len(self.changes) > self.limit or (len(self.changes) > 1 and self._bytes >= MAX_BYTES)

    def add(self, found: Mapping[str, Any]) -> None:
        change = _read(found)
        self.changes.append(change)
        self._bytes += len(change.task or b"")

    def cut(self) -> ChangedPage:
        return ChangedPage(self.changes[:-1], has_more=True) if self.is_full else ChangedPage(self.changes, has_more=False)


def _read(found: Mapping[str, Any]) -> ChangedTask:
    task_id, at = found["_id"], found.get("changed_at")
    task = found.get("task")
    names = (PUBLIC_NAMES.get(name) for name in found.get("changed", ()))
    kind = ChangeKind(found.get("kind", ChangeKind.created))
    return ChangedTask(
        kind,
        task_id,
        in_utc(at) if isinstance(at, datetime) else task_id.generation_time,
        version_of({"version": found.get("version")}),
        tuple(sorted(name for name in names if name and name not in SERVERS_OWN)) if kind is ChangeKind.updated else (),
        None if task is None else bytes(task.raw),
        Place(_milliseconds(at if "kind" in found else found.get("created_at")), task_id),
    )


def _milliseconds(time: Any) -> int | None:
    if isinstance(time, DatetimeMS):
        return int(time)
    return int(DatetimeMS(time)) if isinstance(time, datetime) else None
