"""``v_task_tags``: each tag of a task is a row, and a task without tags is one.

A question about tags is answered sooner than by ``v_tasks``, of which MongoDB computes all fields of each task that it finds.
"""

from typing import Final

from taskapi.db.expressions import or_null
from taskapi.db.views import View, ViewField
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.scope import ACTIVE
from taskapi.tasks.storage.views.tasks import OWNER_ID

_EACH_ONCE: Final = {"$cond": [{"$isArray": "$tags"}, {"$setUnion": ["$tags", []]}, []]}

TASK_TAGS: Final = View(
    name="v_task_tags",
    on=TaskDocument,
    pipeline=[
        {"$match": {"state": ACTIVE}},
        {"$project": {"owner_id": 1, "changed_at": 1, "status": 1, "due_date": 1, "tag": _EACH_ONCE}},
        {"$unwind": {"path": "$tag", "preserveNullAndEmptyArrays": True}},
        {
            "$project": {
                "_id": 0,
                "task_id": "$_id",
                "owner_id": 1,
                "task_changed_at": "$changed_at",
                "status": 1,
                "due_date": 1,
                "tag": or_null("$tag"),
            }
        },
    ],
    description="The tags of tasks, without tasks in the trash: a row for each tag, or one for a task that has none.",
    fields=(
        ViewField("task_id", "objectId", "the task: `_id` of `v_tasks`"),
        OWNER_ID,
        ViewField("task_changed_at", "date", "when the task was last written; an index has it"),
        ViewField("status", "string", "the status of the task"),
        ViewField("due_date", "date or null", "midnight UTC of the day on which the task is due"),
        ViewField("tag", "string or null", "the tag; null for a task without tags"),
    ),
)
