"""``v_status_periods``: each period in which a task had a status is a row."""

from typing import Final

from bson import MaxKey

from taskapi.db.expressions import days_between, is_time, let, list_or_empty, or_null, time_or_null
from taskapi.db.views import View, ViewField
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.marks import MAX_STATUS_CHANGES, UNRECORDED_STATUS_CHANGES
from taskapi.tasks.storage.scope import ACTIVE
from taskapi.tasks.storage.views.tasks import OWNER_ID

_RECORDED: Final = {"$filter": {"input": list_or_empty("$status_changes"), "cond": is_time("$$this.at")}}


# A task has no status before its creation, the time of which an import may set, and no period ends before it begins.
_FIRST: Final = {"status": "$$first.status", "at": {"$ifNull": ["$$created", "$$first.at", None]}}
_NEXT: Final = {"status": "$$this.status", "at": {"$max": ["$$this.at", {"$last": "$$value.at"}]}}
_IN_ORDER: Final = {
    "$reduce": {
        "input": {"$slice": ["$$changes", 1, MAX_STATUS_CHANGES]},
        "initialValue": [_FIRST],
        "in": {"$concatArrays": ["$$value", [_NEXT]]},
    }
}
_STARTS: Final = let(
    {"recorded": _RECORDED, "created": time_or_null("$created_at")},
    let(
        {"changes": {"$cond": [{"$eq": ["$$recorded", []]}, UNRECORDED_STATUS_CHANGES, "$$recorded"]}},
        let({"first": {"$first": "$$changes"}}, _IN_ORDER),
    ),
)
# Most tasks need none of this: their changes are in order. What is neither less than one time nor more than another is a time.
_LAST_IN_ORDER: Final = {
    "$reduce": {
        "input": list_or_empty("$status_changes"),
        "initialValue": "$created_at",
        "in": {"$cond": [{"$gte": ["$$this.at", "$$value"]}, "$$this.at", MaxKey()]},
    }
}
_IS_SIMPLE: Final = {
    "$and": [
        {"$isArray": "$status_changes"},
        {"$eq": [{"$first": "$status_changes.at"}, "$created_at"]},
        is_time("$created_at"),
        is_time(_LAST_IN_ORDER),
    ]
}

STATUS_PERIODS: Final = View(
    name="v_status_periods",
    on=TaskDocument,
    pipeline=[
        {"$match": {"state": ACTIVE}},
        {"$project": {"owner_id": 1, "changed_at": 1, "starts": {"$cond": [_IS_SIMPLE, "$status_changes", _STARTS]}}},
        {"$set": {"start": "$starts"}},
        {"$unwind": {"path": "$start", "includeArrayIndex": "place"}},
        {"$set": {"next": {"$arrayElemAt": ["$starts", {"$add": ["$place", 1]}]}}},
        {
            "$project": {
                "_id": 0,
                "task_id": "$_id",
                "owner_id": 1,
                "task_changed_at": "$changed_at",
                "status": or_null("$start.status"),
                "from": or_null("$start.at"),
                "until": or_null("$next.at"),
                "days": days_between("$start.at", {"$ifNull": ["$next.at", "$$NOW"]}),
            }
        },
    ],
    description=(
        "The periods in which tasks had a status, without tasks in the trash: the first begins at the creation, and each where "
        f"the previous one ends. Up to {MAX_STATUS_CHANGES:,} changes of status of a task are kept, even if its history is "
        "shorter: after more, the first of those kept counts from the creation."
    ),
    fields=(
        ViewField("task_id", "objectId", "the task: `_id` of `v_tasks`"),
        OWNER_ID,
        ViewField("task_changed_at", "date", "when the task was last written; an index has it"),
        ViewField("status", "string", "`todo`, `in_progress` or `done`"),
        ViewField("from", "date", "when the task came to have it"),
        ViewField("until", "date or null", "when it ceased to; null for the present status"),
        ViewField("days", "double", "how many days it had it, until now for the present status"),
    ),
)
