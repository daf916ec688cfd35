"""``v_tasks`` and ``v_tasks_deleted``: a task is a row.

Stored fields are shown as they are, so that MongoDB applies a condition on them to the collection, where an index may serve it.
Only declared fields are shown. To take away the others instead would save 2 of 6 seconds for a million tasks, but show
analysts what a script or a later version has added.
"""

from typing import Final

from taskapi.db.connection import BSON
from taskapi.db.expressions import days_between, is_time, list_or_empty, or_null
from taskapi.db.views import View, ViewField
from taskapi.tasks.schemas import Status
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.scope import ACTIVE, IN_TRASH

OWNER_ID: Final = ViewField("owner_id", "objectId", "the account that the task belongs to: `_id` of `v_users`; never changes")

_FIELDS: Final = (
    ViewField("_id", "objectId", "the task's id"),
    OWNER_ID,
    ViewField("owner", "string", "the user name of its owner"),
    ViewField("title", "string", "3 to 200 characters"),
    ViewField("description", "string", "at most 2,000 characters; may be empty"),
    ViewField("status", "string", "`todo`, `in_progress` or `done`"),
    ViewField("completed", "bool", "whether it is done"),
    ViewField("completed_at", "date or null", "when it was completed; null unless it is done"),
    ViewField("priority", "int", "1 (lowest) to 5 (highest)"),
    ViewField("due_date", "date or null", "midnight UTC of the day on which it is due"),
    ViewField("start_date", "date or null", "midnight UTC of the day on which work is to start"),
    ViewField("estimate_minutes", "int or null", "how long it should take, in minutes"),
    ViewField("tags", "array of string", "at most 20, in lower case"),
    ViewField("links", "array of string", "at most 10 URLs"),
    ViewField("checklist_items", "int", "the number of items of its checklist"),
    ViewField("checklist_done", "int", "how many of these are done"),
    ViewField(
        "progress", "double", "the share of the checklist that is done, 0 to 1; without one, 1 if the task is done, else 0"
    ),
    ViewField("metadata", "object", "names and values of its owner's choice"),
    ViewField("version", "int", "1 when created, or the next version of the purged task whose place it takes; each write adds 1"),
    ViewField("created_at", "date", "when it was created"),
    ViewField("updated_at", "date", "when its owner last changed it"),
    ViewField("changed_at", "date", "when it was last written, whatever wrote: [load what has changed](changes.md) by it"),
    ViewField("overdue", "bool", "whether its due date has passed, in UTC, and it is not done"),
    ViewField("age_days", "double", "days from its creation to its completion, or to now if it is not done"),
    ViewField("lead_time_days", "double or null", "days from its creation to its completion; null unless it is done"),
)
_IS_DONE: Final = {"$eq": ["$status", Status.done.value]}
_CHECKLIST: Final = list_or_empty("$checklist")
_TODAY: Final = {"$dateTrunc": {"date": "$$NOW", "unit": "day"}}
_COMPUTED: Final[BSON] = {
    "checklist_items": {"$size": _CHECKLIST},
    "checklist_done": {"$size": {"$filter": {"input": _CHECKLIST, "cond": {"$eq": ["$$this.done", True]}}}},
    "overdue": {"$and": [{"$ne": ["$status", Status.done.value]}, is_time("$due_date"), {"$lt": ["$due_date", _TODAY]}]},
    "age_days": days_between("$created_at", {"$cond": [_IS_DONE, "$completed_at", "$$NOW"]}),
    "lead_time_days": {"$cond": [_IS_DONE, days_between("$created_at", "$completed_at"), None]},
}


def _rows(state: str, computed: BSON) -> list[BSON]:
    as_stored = dict.fromkeys((field.name for field in _FIELDS), 1)
    return [{"$match": {"state": state}}, {"$project": {**as_stored, **_COMPUTED, **computed}}]


TASKS: Final = View(
    name="v_tasks",
    on=TaskDocument,
    pipeline=_rows(ACTIVE, {"owner": or_null("$owner.username")}),
    description="The tasks of all users, without those in the trash.",
    fields=_FIELDS,
)
DELETED_TASKS: Final = View(
    name="v_tasks_deleted",
    on=TaskDocument,
    pipeline=_rows(
        IN_TRASH,
        {
            "owner": or_null("$trash.owner.username"),
            "deleted_at": or_null("$trash.deleted_at"),
            "expires_at": or_null("$trash.expires_at"),
        },
    ),
    description="The tasks in the trash. Purged tasks are in no view.",
    fields=(
        *_FIELDS,
        ViewField("deleted_at", "date", "when it was deleted"),
        ViewField("expires_at", "date", "when it will be purged"),
    ),
)
