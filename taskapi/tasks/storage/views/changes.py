"""``v_task_changes``: each change of a field is a row.

The history of a task has the value that a field had before a write. The value after it is the one before the next write that
changed the field, or the present one. So the entries are read from the last to the first, and ``values`` are those that the
task had right after each.
"""

from typing import Final

from taskapi.db.connection import BSON
from taskapi.db.expressions import is_time, list_or_empty, or_null
from taskapi.db.views import View, ViewField
from taskapi.tasks.schemas import TaskRead
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.scope import ACTIVE, IN_TRASH
from taskapi.tasks.storage.views.tasks import OWNER_ID

CHANGED_FIELDS: Final = tuple(name for name in TaskRead.model_fields if name not in {"id", "owner", "version", "updated_at"})

_IS_SOUND: Final = {"$and": [{"$eq": [{"$type": "$$this.before"}, "object"]}, is_time("$$this.at")]}
_ENTRIES: Final = {"$reverseArray": {"$filter": {"input": list_or_empty("$history"), "cond": _IS_SOUND}}}


_WRITE: Final[BSON] = {name: f"$$this.{name}" for name in ("version", "at", "by", "action")}
_UNCHANGED: Final[BSON] = {**_WRITE, "field": None, "before": None, "after": None}
_PAIRS: Final = {
    "$filter": {
        "input": {"$objectToArray": "$$this.before"},
        "as": "pair",
        "cond": {"$in": ["$$pair.k", list(CHANGED_FIELDS)]},
    }
}
_AFTER: Final = {
    "$switch": {
        "branches": [{"case": {"$eq": ["$$pair.k", name]}, "then": f"$$value.values.{name}"} for name in CHANGED_FIELDS],
        "default": None,
    }
}
_CHANGES: Final = {
    "$filter": {
        "input": {
            "$map": {
                "input": _PAIRS,
                "as": "pair",
                "in": {**_WRITE, "field": "$$pair.k", "before": "$$pair.v", "after": or_null(_AFTER)},
            }
        },
        "as": "row",
        "cond": {"$ne": ["$$row.before", "$$row.after"]},
    }
}
_OF_ENTRY: Final = {
    "$let": {"vars": {"changes": _CHANGES}, "in": {"$cond": [{"$eq": ["$$changes", []]}, [_UNCHANGED], "$$changes"]}}
}
_ROWS: Final = {
    "$reduce": {
        "input": _ENTRIES,
        "initialValue": {"values": {name: f"${name}" for name in CHANGED_FIELDS}, "rows": []},
        "in": {
            "values": {"$mergeObjects": ["$$value.values", "$$this.before"]},
            "rows": {"$concatArrays": ["$$value.rows", _OF_ENTRY]},
        },
    }
}

TASK_CHANGES: Final = View(
    name="v_task_changes",
    on=TaskDocument,
    pipeline=[
        {"$match": {"state": {"$in": [ACTIVE, IN_TRASH]}}},
        {"$project": {"owner_id": 1, "state": 1, "changed_at": 1, "change": _ROWS}},
        {"$unwind": "$change.rows"},
        {
            "$project": {
                "_id": 0,
                "task_id": "$_id",
                "owner_id": 1,
                "task_changed_at": "$changed_at",
                "in_trash": {"$eq": ["$state", IN_TRASH]},
                "version": "$change.rows.version",
                "at": "$change.rows.at",
                "by_id": or_null("$change.rows.by.id"),
                "by": or_null("$change.rows.by.username"),
                "action": "$change.rows.action",
                "field": "$change.rows.field",
                "before": "$change.rows.before",
                "after": "$change.rows.after",
            }
        },
    ],
    description=(
        "The changes of tasks, those in the trash too: a row for each field that a write changed, or one without a field if it "
        "changed none, such as the creation. The history that it is read from keeps the last 100 writes of a task, and fewer if "
        "they take more than 64 KiB."
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
