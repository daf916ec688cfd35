"""Events as JSON."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Self

from bson import ObjectId

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.clock import rfc3339
from taskapi.db.raw import decode
from taskapi.events.positions import Position, PositionCodec
from taskapi.events.schemas import EventType
from taskapi.tasks.services.changes import Change, TaskChanges
from taskapi.tasks.storage.change_repository import StoredTask
from taskapi.tasks.storage.reading import version_of
from taskapi.tasks.storage.rendering import TaskRenderer
from taskapi.tasks.storage.scope import ACTIVE

WITHOUT_TASK = {EventType.deleted, EventType.purged, EventType.left}


class OwnChange(NamedTuple):
    """A change of a task of the account that is told of it, and the task as it was stored then or later."""

    change: Change
    task: StoredTask
    has_left: bool = False  # the task does not match what the reader filters by

    @property
    def type(self) -> EventType:
        """The type of its event."""
        return EventType.left if self.has_left else EventType[self.change.kind.name]


class EventReader(NamedTuple):
    """An account as its events show it: thousands of these are kept, of which each whole account would take 2 KiB more."""

    object_id: ObjectId
    username: str

    @classmethod
    def of(cls, user: UserRead) -> Self:
        """As the account is now."""
        return cls(user.object_id, user.username)

    @property
    def id(self) -> str:
        """The id as text."""
        return str(self.object_id)


class RenderedEvent(NamedTuple):
    """An event as it is sent."""

    id: str
    type: EventType
    json: bytes
    token: str  # the resume token of its change


class EventRenderer:
    """Renders events for the owners of the tasks."""

    def __init__(self, changes: TaskChanges, tasks: TaskRenderer, positions: PositionCodec) -> None:
        self._changes, self._tasks, self._positions = changes, tasks, positions

    async def find(self, changes: Sequence[Change], owner: EventReader) -> list[OwnChange]:
        """Those of the changes that are of ``owner``'s tasks."""
        found = await self._changes.current(changes, [owner.object_id])
        return [OwnChange(change, found[change.task_id]) for change in changes if change.task_id in found]

    def render(self, own: OwnChange, owner: EventReader) -> RenderedEvent:
        """The event of a change."""
        change, task = own.change, own.task
        position = self._positions.write(Position(change.time, change.token), owner.object_id)
        version = version_of(decode(task.raw)) if change.version is None else change.version
        is_shown = own.type not in WITHOUT_TASK and task.state == ACTIVE
        shown = self._tasks.render(task.raw, owner).json if is_shown else None
        text = event_json(position, own.type, change.at, change.task_id, version, change.changed, shown)
        return RenderedEvent(position, own.type, text, change.token)


def event_json(
    position: str, kind: EventType, at: datetime, task_id: ObjectId, version: int, changed: Sequence[str], task: bytes | None
) -> bytes:
    """An event as ``TaskEvent`` describes it; ``task`` is JSON already."""
    event = {
        "id": position,
        "type": kind.value,
        "at": rfc3339(at),
        "task_id": str(task_id),
        "version": version,
        "changed": changed,
    }
    text = json.dumps(event, separators=(",", ":")).encode()
    return text if task is None else b'%b,"task":%b}' % (text[:-1], task)
