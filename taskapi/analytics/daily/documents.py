"""The stored daily figures."""

from datetime import datetime
from typing import Annotated, ClassVar, Final

from beanie import Document, PydanticObjectId
from pydantic import BaseModel, Field
from pymongo import ASCENDING

from taskapi.core.fields import omittable
from taskapi.db.indexes import Index
from taskapi.tasks.schemas import Status

MAX_HOURS = 99_999  # eleven years
LEAD_HOURS, CYCLE_HOURS, OPEN_PRIORITIES, FIELDS = "lead_hours", "cycle_hours", "open_priorities", "fields"
COUNTED: Final = (
    *("created", "completed", "status_changes", "monthly_active", "open", "open_due"),
    *(status.value for status in Status),
)
LISTED: Final = (LEAD_HOURS, CYCLE_HOURS, OPEN_PRIORITIES, FIELDS)

Number = Annotated[int, Field(ge=0)]


class DayKey(BaseModel):
    """Whose figures, and of which day."""

    owner_id: PydanticObjectId | None
    """As the field ``owner_id``."""
    day: datetime
    """As the field ``day``."""


class HoursCount(BaseModel):
    """How many tasks took so long."""

    hours: Annotated[int, Field(ge=0, le=MAX_HOURS)]
    """Whole hours, rounded down."""
    tasks: Annotated[int, Field(ge=1)]
    """The number of tasks."""


class PriorityCount(BaseModel):
    """How many tasks have a priority."""

    priority: int | None
    """The priority; null for what a script has stored in its place."""
    tasks: Annotated[int, Field(ge=1)]
    """The number of tasks."""


class FieldCount(BaseModel):
    """How often a field was changed."""

    field: Annotated[str, Field(min_length=1, max_length=50)]
    """The stored name of the field."""
    changes: Annotated[int, Field(ge=1)]
    """The number of changes."""
    tasks: Number
    """The number of tasks of which this was the first day with such a change."""


class TaskDayDocument(Document):
    """The figures of one day in UTC, of one user's tasks or of all users' together.

    ``taskapi analytics refresh`` computes them from ``tasks``. A day without any figure has no document.
    """

    id: DayKey  # type: ignore[assignment]
    """Whose figures, and of which day."""
    owner_id: PydanticObjectId | None
    """The ``_id`` of the user; null in the figures of all users together."""
    day: datetime
    """The day, as midnight UTC at its start."""
    created: Number
    """How many tasks were created."""
    completed: Number
    """How many tasks were last completed on that day, and are done now."""
    status_changes: Number
    """How many times a task got a status, with its creation."""
    monthly_active: Number
    """1 on the first day of a month on which a task of the user got a status, else 0; of all users, how many had that day."""
    todo: int
    """By how much the number of tasks to do changed: the sum up to a day is their number at its end."""
    in_progress: int
    """The same for tasks in progress."""
    done: int
    """The same for tasks that are done."""
    lead_hours: list[HoursCount]
    """The time from creation to completion of the tasks in ``completed``, without those completed before their creation."""
    cycle_hours: list[HoursCount]
    """The time from first in progress to last done, of the tasks that were last done on that day and were ever in progress."""
    open: Number
    """How many of the tasks created on that day are not done now."""
    open_priorities: list[PriorityCount]
    """The priorities of the tasks in ``open``."""
    open_due: Number
    """How many tasks with this due date are not done now."""
    fields: list[FieldCount]
    """The changes of each field, of tasks in the trash too."""
    refreshed_at: datetime
    """All writes until then are counted; in the figures of one user, when they were last found to differ from before."""
    stale: PydanticObjectId = omittable()
    """In the figures of all users only: those of one have changed since they were summed up. Another value each time."""

    class Settings:
        name = "task_days"
        indexes: ClassVar = [
            Index(
                [("owner_id", ASCENDING), ("day", ASCENDING), ("status_changes", ASCENDING), ("open", ASCENDING)],
                name="owner_id_day",
                serves="the days of a user, or of all users; when users were active, and since when their tasks are open",
            ),
            Index(
                [("owner_id", ASCENDING), ("day", ASCENDING)],
                name="monthly_active",
                serves="the months in which users were active",
                partialFilterExpression={"monthly_active": {"$gt": 0}},
            ),
            Index(
                [("day", ASCENDING), ("owner_id", ASCENDING)],
                name="day_owner_id",
                serves="`taskapi analytics refresh`, which sums up the figures of a day",
            ),
        ]
