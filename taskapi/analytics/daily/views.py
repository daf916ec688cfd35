"""``v_task_days`` and ``v_days``: the daily figures, of each user and of all users."""

from typing import Final

from taskapi.analytics.daily.documents import TaskDayDocument
from taskapi.db.views import View, ViewField

_DAY: Final = ViewField("day", "date", "midnight UTC at the start of the day")
_FIGURES: Final = (
    ViewField("created", "int", "tasks that were created"),
    ViewField("completed", "int", "tasks that were last completed on that day, and are done now"),
    ViewField("status_changes", "int", "how many times a task got a status, with its creation"),
    ViewField(
        "monthly_active",
        "int",
        "1 on the first day of a month on which a task of the user got a status, else 0; of all users, how many had that day",
    ),
    ViewField("todo", "int", "by how much the number of tasks to do changed: the sum up to a day is their number at its end"),
    ViewField("in_progress", "int", "the same for tasks in progress"),
    ViewField("done", "int", "the same for tasks that are done"),
    ViewField(
        "lead_hours", "array of object", "from creation to completion, of the tasks in `completed`: `hours`, and how many `tasks`"
    ),
    ViewField(
        "cycle_hours",
        "array of object",
        "from first in progress to last done, of tasks that were last done on that day: `hours`, and how many `tasks`",
    ),
    ViewField("open", "int", "tasks created on that day that are not done now"),
    ViewField("open_priorities", "array of object", "their priorities: `priority`, and how many `tasks`"),
    ViewField("open_due", "int", "tasks with this due date that are not done now"),
    ViewField(
        "fields",
        "array of object",
        "changes, of tasks in the trash too: `field`, how many `changes`, and for how many `tasks` it was the first day with one",
    ),
    ViewField("refreshed_at", "date", "all writes until then are counted; of a user, when the figures of the day last changed"),
)
_SHOWN: Final = {"_id": 0, "day": 1, **{field.name: 1 for field in _FIGURES}}

TASK_DAYS: Final = View(
    name="v_task_days",
    on=TaskDayDocument,
    pipeline=[{"$match": {"owner_id": {"$ne": None}}}, {"$project": {**_SHOWN, "owner_id": 1}}],
    description="The [daily figures](analytics.md#daily-figures) of each user, as of the last `taskapi analytics refresh`.",
    fields=(ViewField("owner_id", "objectId", "the account whose tasks are counted: `_id` of `v_users`"), _DAY, *_FIGURES),
)
DAYS: Final = View(
    name="v_days",
    on=TaskDayDocument,
    pipeline=[{"$match": {"owner_id": None}}, {"$project": _SHOWN}],
    description="The daily figures of all users together: a row for each day, which answers in milliseconds.",
    fields=(_DAY, *_FIGURES),
)

VIEWS: Final = (TASK_DAYS, DAYS)
