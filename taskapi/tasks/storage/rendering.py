"""Renders stored tasks as JSON, and remembers the JSON by the BSON that MongoDB sends.

The JSON of a task depends on its BSON alone: when MongoDB sends the same bytes again, nothing is decoded or validated.
What is remembered cannot be out of date, because MongoDB is asked each time; a task that has changed has other bytes.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from taskapi.accounts.users.schemas import UserName, UserRead
from taskapi.db.raw import Raw, decode, decode_all
from taskapi.tasks.schemas import TaskRead
from taskapi.tasks.storage.reading import read

MAX_REMEMBERED_BYTES = 8 * 1024 * 1024  # per worker: about 5,000 tasks of a page of text
MAX_REMEMBERED_TASK = 32 * 1024  # bytes: a few long tasks must not displace thousands of others
OVERHEAD = 600  # bytes of the objects around a remembered task
_task = TypeAdapter(TaskRead)
_tasks = TypeAdapter(list[TaskRead])


class Rendering(NamedTuple):
    """A task as JSON, and what its headers need."""

    json: bytes
    id: str
    version: int


class _Remembered(NamedTuple):
    owner: tuple[str, str]  # the id and name that the JSON shows
    rendering: Rendering


class TaskRenderer:
    """Renders the tasks of one application."""

    def __init__(self, max_bytes: int = MAX_REMEMBERED_BYTES) -> None:
        self._max_bytes, self._bytes = max_bytes, 0
        self._remembered: OrderedDict[Raw, _Remembered] = OrderedDict()  # the least recently shown first

    def render(self, stored: Raw, owner: UserName) -> Rendering:
        """A stored task of ``owner``, with the owner's current name."""
        known = self._remembered.get(stored)
        if known is None:
            self._remember([stored])
            known = self._remembered.get(stored)
        else:
            self._remembered.move_to_end(stored)
        if known is not None and known.owner == (owner.id, owner.username):
            return known.rendering
        task = read(decode(stored), owner)  # it is damaged or long, or its copy of the owner's name is an earlier one
        return Rendering(task.model_dump_json().encode(), task.id, task.version)

    def render_all(self, stored: Sequence[Raw], owner: UserRead) -> list[Rendering]:
        """Each task of ``stored``, as ``render`` returns it."""
        self._remember([task for task in dict.fromkeys(stored) if task not in self._remembered])
        return [self.render(task, owner) for task in stored]

    def _remember(self, unknown: Sequence[Raw]) -> None:
        """Renders those tasks that are not long, and remembers them, unless one is damaged."""
        short = [stored for stored in unknown if len(stored) <= MAX_REMEMBERED_TASK]
        if not short:
            return
        try:
            tasks = _tasks.validate_python(decode_all(short))
        except ValidationError:
            return
        for stored, task in zip(short, tasks, strict=True):
            rendering = Rendering(_task.dump_json(task), task.id, task.version)
            self._remembered[stored] = _Remembered((task.owner.id, task.owner.username), rendering)
            self._bytes += len(stored) + len(rendering.json) + OVERHEAD
        while self._bytes > self._max_bytes:
            oldest, other = self._remembered.popitem(last=False)
            self._bytes -= len(oldest) + len(other.rendering.json) + OVERHEAD
