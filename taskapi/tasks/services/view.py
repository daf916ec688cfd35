"""One task, in the state and with the fields that are asked for."""

from typing import NamedTuple

from pydantic import BaseModel

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.fields import TimeZone
from taskapi.tasks.query.projection import Fields, Projection, TaskPart
from taskapi.tasks.schemas import TaskRead
from taskapi.tasks.services import versions
from taskapi.tasks.services.versions import PastQuery
from taskapi.tasks.storage.loader import TaskLoader
from taskapi.tasks.storage.reading import read as read_task
from taskapi.tasks.storage.reading import version_of


class TaskView(PastQuery):
    """Which state of a task, and what of it."""

    fields: Fields | None = None


class SummaryQuery(BaseModel):
    """Where it is that a task is overdue. Other parameters are ignored."""

    tz: TimeZone | None = None


class View(NamedTuple):
    """What there is to see of a task."""

    task: TaskRead | TaskPart
    version: int

    def json(self) -> str:
        """The task as JSON."""
        return self.task.model_dump_json(exclude_unset=isinstance(self.task, TaskPart))


async def read(owner: UserRead, task_id: str, wanted: TaskView, tasks: TaskLoader) -> View:
    """A task as ``wanted`` says.

    Raises:
        NotFound: there is no such task or version, or it was not there at that time.
        VersionNotKept: the history does not reach back so far.
    """
    projection = None if wanted.fields is None else Projection.of(wanted.fields)
    stored = await (versions.state(owner, task_id, wanted) if wanted.is_past else tasks.stored(owner, task_id))
    task = read_task(stored, owner) if projection is None else projection.part(stored, owner)
    return View(task, version_of(stored))
