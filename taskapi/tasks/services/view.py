"""Reads one task in the requested state, with the requested fields."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.clock import in_utc, today, utc_now
from taskapi.core.fields import Id, StoredDay, TimeZone
from taskapi.tasks.query.projection import Fields, Projection, TaskPart
from taskapi.tasks.schemas import READ_EXAMPLE, Status, TaskRead
from taskapi.tasks.services.versions import PastQuery, VersionService
from taskapi.tasks.storage.loader import TaskLoader
from taskapi.tasks.storage.reading import read, version_of


class TaskView(PastQuery):
    """The state of a task to read, and its fields."""

    fields: Fields | None = None


class SummaryQuery(BaseModel):
    """The time zone that decides whether a task is overdue. Other parameters are ignored."""

    tz: TimeZone | None = None


class TaskSummary(BaseModel):
    """A summary of a task."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **{name: READ_EXAMPLE[name] for name in ("id", "title", "status", "due_date")},
                    "overdue": False,
                    "age_days": 3,
                }
            ]
        }
    )

    id: Annotated[Id, Field(validation_alias="_id")]
    title: str
    status: Status
    due_date: StoredDay | None
    overdue: bool = Field(description="Whether the due date has passed, in the time zone `tz`, and the task is not done.")
    age_days: int = Field(ge=0, description="Whole days since it was created.")

    @classmethod
    def of(cls, task: TaskRead, zone: str | None = None) -> "TaskSummary":
        """The summary of a task, as of now, in a time zone."""
        age = utc_now() - in_utc(task.created_at)
        overdue = task.due_date is not None and task.due_date < today(zone).date() and task.status is not Status.done
        brief = {"_id": task.id, "title": task.title, "status": task.status, "due_date": task.due_date}
        return cls.model_validate({**brief, "overdue": overdue, "age_days": max(age.days, 0)})


class View(NamedTuple):
    """A task as requested, whole or in part."""

    task: TaskRead | TaskPart
    version: int

    def json(self) -> str:
        """The task as JSON."""
        return self.task.model_dump_json(exclude_unset=isinstance(self.task, TaskPart))


@dataclass(frozen=True, slots=True)
class ViewService:
    """Reads one task as requested."""

    loader: TaskLoader
    versions: VersionService

    async def read(self, owner: UserRead, task_id: str, wanted: TaskView) -> View:
        """The task in the state and with the fields of ``wanted``.

        Raises:
            NotFound: there is no such task or version, or the task did not exist at that time.
            VersionNotKept: the history does not go back that far.
        """
        projection = None if wanted.fields is None else Projection.of(wanted.fields)
        if wanted.is_past:
            stored = await self.versions.state(owner, task_id, wanted)
        else:
            stored = await self.loader.get_stored(owner, task_id)
        task = read(stored, owner) if projection is None else projection.part(stored, owner)
        return View(task, version_of(stored))
