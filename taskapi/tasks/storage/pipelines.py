"""Update pipelines, by which stored tasks change: MongoDB itself computes what depends on stored values.

Only changes of fields that nothing depends on may do without: see ``direct_changes``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from bson import ObjectId

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.clock import midnight, utc_now
from taskapi.core.ids import new_id
from taskapi.db.connection import BSON
from taskapi.db.expressions import DAY_MS, list_or_empty, literals
from taskapi.tasks.fields import DAYS, DIRECT_FIELDS
from taskapi.tasks.schemas import ChecklistItem, Status, TaskCreate, TaskUpdate
from taskapi.tasks.storage.history import NEXT_VERSION, Action, entry, record_history
from taskapi.tasks.storage.marks import NEXT_CHANGED_AT, add_status_change, later
from taskapi.tasks.storage.reading import reference
from taskapi.tasks.storage.scope import ACTIVE, IN_TRASH, PURGED

IS_DONE = {"$eq": ["$status", Status.done]}
STORED_CHECKLIST = list_or_empty("$checklist")
PROGRESS = {
    "$let": {
        "vars": {"items": STORED_CHECKLIST},
        "in": {
            "$cond": [
                {"$eq": ["$$items", []]},
                {"$cond": [IS_DONE, 1.0, 0.0]},
                {
                    "$divide": [
                        {"$size": {"$filter": {"input": "$$items", "as": "item", "cond": "$$item.done"}}},
                        {"$size": "$$items"},
                    ]
                },
            ]
        },
    }
}


@dataclass(frozen=True)
class Write:
    """A change of a task, and the entry that it adds to the history."""

    fields: BSON  # stored name -> expression
    added: BSON
    derive: bool = True  # the fields that depend on status and checklist

    @cached_property
    def values(self) -> BSON | None:
        """The values of the fields, if all are stored as sent."""
        if not self.fields.keys() <= set(DIRECT_FIELDS):
            return None
        known = {name: each["$literal"] for name, each in self.fields.items() if isinstance(each, dict) and "$literal" in each}
        return known if len(known) == len(self.fields) else None

    @cached_property
    def pipeline(self) -> list[BSON]:
        """The update pipeline."""
        now, fields = self.added["at"], self.fields
        stages = list[BSON]()
        touched = [*fields, "updated_at"]
        if self.derive and "status" in fields:
            completed_at = {"$cond": [IS_DONE, {"$ifNull": ["$completed_at", now]}, None]}
            changes = add_status_change(now, fields.get("completed_at"))
            stages.append({"$set": {"completed": IS_DONE, "completed_at": completed_at, "status_changes": changes}})
            touched += ["completed", "completed_at"]
        elif "status" in fields:
            stages.append({"$set": {"status_changes": add_status_change(now)}})
        if self.derive and ("status" in fields or "checklist" in fields):
            stages.append({"$set": {"progress": PROGRESS}})
            touched.append("progress")
        first = {"updated_at": later("$updated_at", now), **fields}
        return record_history(first, *stages, touched=touched, added=self.added)


def stored_items(items: Iterable[ChecklistItem]) -> list[BSON]:
    """A checklist as it is stored; new items get their ids."""
    return [{"id": ObjectId(item.id) if item.id else new_id(), "text": item.text, "done": item.done} for item in items]


def progress(items: list[BSON], completed: bool) -> float:
    """The share of a checklist that is done, 0 to 1; without a checklist, 1 if the task is done."""
    return sum(item["done"] for item in items) / len(items) if items else float(completed)


def update(
    fields: BSON, by: UserRead, action: Action = Action.update, now: datetime | None = None, *, derive: bool = True
) -> Write:
    """The write that sets ``fields`` (stored name -> expression) and the fields derived from them, and adds to the history.

    With ``derive=False``, ``fields`` contains the fields derived from status and checklist as well. Every change moves a task
    forward in the order of ``updated_at``, even if the clocks of two servers differ.
    """
    return Write(fields, entry(action, by, now or utc_now()), derive)


def direct_values(data: TaskCreate | TaskUpdate, *, unset: bool = False) -> BSON:
    """The values of the fields that are stored as sent; with ``unset``, also the defaults of those that were not sent."""
    names = DIRECT_FIELDS if unset else [name for name in DIRECT_FIELDS if name in data.model_fields_set]
    values = {name: getattr(data, name) for name in names}
    for name in DAYS:
        if values.get(name) is not None:
            values[name] = midnight(values[name])
    return values


def fields_of(data: TaskUpdate) -> BSON:
    """The fields that a change sets, as expressions; without metadata, which is merged into the stored one."""
    values = direct_values(data)
    if data.checklist is not None:
        values["checklist"] = stored_items(data.checklist)
    fields = literals(values)
    if data.status or data.completed:
        fields["status"] = data.status or Status.done
    elif data.completed is not None:
        fields["status"] = {"$cond": [IS_DONE, Status.todo, "$status"]}
    return fields


def trash_pipeline(owner: UserRead, days: int, added: BSON | None = None) -> list[BSON]:
    """The update pipeline that moves a task of ``owner`` to the trash, for ``days`` days, and adds an entry to the history."""
    added = added or entry(Action.delete, owner, utc_now())
    trash = {"deleted_at": added["at"], "expires_at": added["at"] + timedelta(days=days)}
    # A computed value replaces whatever a script has stored there, so that the owner can be found again.
    moved = {"state": IN_TRASH, "trash": {"$literal": {"owner": reference(owner), **trash}}}
    return record_history(moved, {"$unset": "owner"}, touched=[], added=added)


def restore_pipeline(owner: UserRead, now: datetime, *, keeps_key: bool = True) -> list[BSON]:
    """The update pipeline that takes a task of ``owner`` out of the trash; with ``keeps_key=False``, it loses its key."""
    gone = ["trash"] if keeps_key else ["trash", "key"]
    back = {"state": ACTIVE, "owner": {"$literal": reference(owner)}}
    touched = [] if keeps_key else ["key"]
    return record_history(back, {"$unset": gone}, touched=touched, added=entry(Action.restore, owner, now))


def purge_pipeline(days: int) -> list[BSON]:
    """The update pipeline that leaves nothing of a task but a tombstone, for ``days`` days: see ``documents.Tombstone``."""
    created_at = {"$cond": [{"$eq": [{"$type": "$created_at"}, "date"]}, "$created_at", "$$NOW"]}
    expires_at = {"$add": ["$$NOW", days * DAY_MS]}
    kept = {"_id": "$_id", "owner_id": "$owner_id", "created_at": created_at, "version": NEXT_VERSION}
    return [{"$replaceWith": {**kept, "state": PURGED, "changed_at": NEXT_CHANGED_AT, "expires_at": expires_at}}]


def replace_tombstone(task: BSON) -> list[BSON]:
    """The update pipeline that puts a new task in the place of a tombstone that has its id.

    It goes on with the next version: copies and ETags of the purged task are not those of the new one.
    """
    (created,) = task["history"]
    history = [{"$mergeObjects": [{"$literal": created}, {"version": NEXT_VERSION}]}]
    computed = {"version": NEXT_VERSION, "changed_at": NEXT_CHANGED_AT, "history": history}
    return [{"$replaceWith": {"$mergeObjects": [{"$literal": task}, computed]}}]
