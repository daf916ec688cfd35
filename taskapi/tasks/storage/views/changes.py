"""``v_task_changes``: each change of a field is a row.

The history of a task has the value that a field had before a write. The value after it is the one before the next write that
changed the field, or the present one: the first of those in the ``later`` entries and in the task.
"""

from typing import Final

from taskapi.db.connection import BSON
from taskapi.db.expressions import is_time, list_or_empty, or_null
from taskapi.db.views import View, ViewField
from taskapi.tasks.schemas import TaskRead
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.history import MAX_ENTRIES
from taskapi.tasks.storage.scope import ACTIVE, IN_TRASH
from taskapi.tasks.storage.views.tasks import OWNER_ID

CHANGED_FIELDS: Final = tuple(name for name in TaskRead.model_fields if name not in {"id", "owner", "version", "updated_at"})

_IS_SOUND: Final = {"$and": [{"$eq": [{"$type": "$$this.before"}, "object"]}, is_time("$$this.at")]}
_NEWEST: Final = {"$slice": [list_or_empty("$history"), -MAX_ENTRIES]}
_ENTRIES: Final = {"$filter": {"input": _NEWEST, "cond": _IS_SOUND}}


def _after(name: str) -> BSON:
    """The value of a field after an entry."""
    return {"$first": {"$concatArrays": [f"$later.before.{name}", [or_null(f"${name}")]]}}


# A write stores those that it changed, but also metadata that it set to the same.
_IS_CHANGE: Final = {
    "$and": [
        {"$in": ["$$this.k", list(CHANGED_FIELDS)]},
        {"$or": [{"$ne": ["$$this.k", "metadata"]}, {"$ne": ["$$this.v", _after("metadata")]}]},
    ]
}
_CHANGES: Final = {"$filter": {"input": {"$objectToArray": "$entry.before"}, "cond": _IS_CHANGE}}
_AFTER: Final = {
    "$switch": {
        "branches": [{"case": {"$eq": ["$change.k", name]}, "then": _after(name)} for name in CHANGED_FIELDS],
        "default": None,
    }
}

TASK_CHANGES: Final = View(
    name="v_task_changes",
    on=TaskDocument,
    pipeline=[
        {"$match": {"state": {"$in": [ACTIVE, IN_TRASH]}}},
        {"$project": {**dict.fromkeys((*CHANGED_FIELDS, "owner_id", "state", "changed_at"), 1), "entries": _ENTRIES}},
        {"$set": {"entry": "$entries"}},
        {"$unwind": {"path": "$entry", "includeArrayIndex": "place"}},
        {"$set": {"later": {"$slice": ["$entries", {"$add": ["$place", 1]}, MAX_ENTRIES]}}},
        {"$set": {"change": _CHANGES}},
        {"$unwind": {"path": "$change", "preserveNullAndEmptyArrays": True}},
        {
            "$project": {
                "_id": 0,
                "task_id": "$_id",
                "owner_id": 1,
                "task_changed_at": "$changed_at",
                "in_trash": {"$eq": ["$state", IN_TRASH]},
                "version": "$entry.version",
                "at": "$entry.at",
                "by_id": or_null("$entry.by.id"),
                "by": or_null("$entry.by.username"),
                "action": "$entry.action",
                "field": or_null("$change.k"),
                "before": or_null("$change.v"),
                "after": _AFTER,
            }
        },
    ],
    description=(
        "The changes of tasks, those in the trash too: a row for each field that a write changed, or one without a field if it "
        "changed none, such as the creation. Of each task, it has the last 100 writes, and fewer if they take more than 64 KiB."
    ),
    fields=(
        ViewField("task_id", "objectId", "the task: `_id` of `v_tasks`"),
        OWNER_ID,
        ViewField("task_changed_at", "date", "when the task was last written; an index has it, and `at` is never later"),
        ViewField("in_trash", "bool", "whether the task is in the trash now"),
        ViewField("version", "int", "the version of the task that the write created"),
        ViewField("at", "date", "when it was written"),
        ViewField("by_id", "objectId", "the account that wrote it"),
        ViewField("by", "string", "the user name of that account"),
        ViewField("action", "string", "`create`, `update`, `revert`, `delete` or `restore`"),
        ViewField("field", "string or null", "the changed field; null if the write changed none"),
        ViewField("before", "any", "its value before; null without one"),
        ViewField("after", "any", "its value after; null without one"),
    ),
)
