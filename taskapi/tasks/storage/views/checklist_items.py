"""``v_checklist_items``: each item of a checklist is a row."""

from typing import Final

from taskapi.db.expressions import or_null
from taskapi.db.views import View, ViewField
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.scope import ACTIVE
from taskapi.tasks.storage.views.tasks import OWNER_ID

CHECKLIST_ITEMS: Final = View(
    name="v_checklist_items",
    on=TaskDocument,
    pipeline=[
        {"$match": {"state": ACTIVE, "checklist": {"$type": "array"}}},
        {"$project": {"owner_id": 1, "changed_at": 1, "status": 1, "checklist": 1}},
        {"$unwind": {"path": "$checklist", "includeArrayIndex": "position"}},
        {"$match": {"checklist": {"$type": "object"}}},
        {
            "$project": {
                "_id": or_null("$checklist.id"),
                "task_id": "$_id",
                "owner_id": 1,
                "task_changed_at": "$changed_at",
                "task_status": "$status",
                "position": {"$toInt": "$position"},
                "text": or_null("$checklist.text"),
                "done": {"$eq": ["$checklist.done", True]},
            }
        },
    ],
    description="The items of the checklists of tasks, without tasks in the trash.",
    fields=(
        ViewField("_id", "objectId", "the item's id"),
        ViewField("task_id", "objectId", "the task: `_id` of `v_tasks`"),
        OWNER_ID,
        ViewField("task_changed_at", "date", "when the task was last written; an index has it"),
        ViewField("task_status", "string", "the status of the task"),
        ViewField("position", "int", "the place in the checklist, from 0"),
        ViewField("text", "string", "1 to 200 characters"),
        ViewField("done", "bool", "whether it is done"),
    ),
)
