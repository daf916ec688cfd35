"""The checklist of a task. Each change is one atomic array operation, so two people can tick two items at the same time."""

from dataclasses import dataclass
from typing import Any

from bson import ObjectId

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.errors import FieldError, InvalidInput, NotFound, PreconditionFailed
from taskapi.core.fields import object_id
from taskapi.db.connection import BSON, Session
from taskapi.tasks.errors import Contended, TooManyItems
from taskapi.tasks.schemas import MAX_ITEMS, ItemCreate, ItemUpdate, TaskRead
from taskapi.tasks.storage.history import Versions
from taskapi.tasks.storage.pipelines import STORED_CHECKLIST, update
from taskapi.tasks.storage.reading import read, version_of
from taskapi.tasks.storage.repository import MAX_ATTEMPTS, TaskRepository

HAS_ROOM = {f"checklist.{MAX_ITEMS - 1}": {"$exists": False}}


@dataclass(frozen=True, slots=True)
class ChecklistService:
    """Adds, changes and removes the items of a checklist."""

    tasks: TaskRepository

    async def add(
        self,
        owner: UserRead,
        task_id: str,
        item_id: ObjectId,
        data: ItemCreate,
        versions: Versions,
        session: Session | None = None,
    ) -> TaskRead:
        """Adds an item before another one or at the end. Returns the task after the change.

        If an earlier run of this request has added the item, the task is returned as it is.

        Raises:
            NotFound: there is no such task.
            PreconditionFailed: it has none of ``versions``.
            TooManyItems: it has 100 items.
            InvalidInput: the task has no item ``data.before``.
            Contended: the task has come and gone 100 times.
        """
        item = {"id": item_id, "text": data.text, "done": data.done}
        added = _place(STORED_CHECKLIST, [{"$literal": item}], data.before)
        return await self._write(owner, task_id, versions, added, item_id, data.before, new=True, session=session)

    async def update(self, owner: UserRead, task_id: str, item_id: str, data: ItemUpdate, versions: Versions) -> TaskRead:
        """Changes an item's text, ticks it, or moves it before another (None: to the end). Returns the task after the change.

        If no field was sent, nothing is written.

        Raises:
            NotFound: there is no such task, or no such item in it.
            PreconditionFailed: it has none of ``versions``.
            InvalidInput: the task has no item ``data.before``.
            Contended: see ``add``.
        """
        stored_id = _parse_id(item_id)
        if not data.model_fields_set:
            task = read(await self.tasks.find(owner, task_id, versions), owner)
            if str(stored_id) not in {item.id for item in task.checklist}:
                raise NotFound("Checklist item not found")
            return task
        values = data.model_dump(exclude_unset=True, exclude={"before"})
        changed = {"$mergeObjects": ["$$item", {"$literal": values}]}
        after: BSON = {
            "$map": {
                "input": STORED_CHECKLIST,
                "as": "item",
                "in": {"$cond": [{"$eq": ["$$item.id", stored_id]}, changed, "$$item"]},
            }
        }
        if "before" in data.model_fields_set and data.before != str(stored_id):
            after = _place(_where("$ne", stored_id, after), _where("$eq", stored_id, after), data.before)
        return await self._write(owner, task_id, versions, after, stored_id, data.before)

    async def remove(self, owner: UserRead, task_id: str, item_id: str, versions: Versions) -> TaskRead:
        """Removes an item. Returns the task after the change.

        Raises:
            NotFound: there is no such task, or no such item in it.
            PreconditionFailed: it has none of ``versions``.
            Contended: see ``add``.
        """
        stored_id = _parse_id(item_id)
        return await self._write(owner, task_id, versions, _where("$ne", stored_id, STORED_CHECKLIST), stored_id)

    async def _write(
        self,
        owner: UserRead,
        task_id: str,
        versions: Versions,
        after: BSON,
        item_id: ObjectId,
        before: str | None = None,
        *,
        new: bool = False,
        session: Session | None = None,
    ) -> TaskRead:
        condition = {**HAS_ROOM, "checklist.id": {"$ne": item_id}} if new else {"checklist.id": item_id}
        conditions = [condition, *([{"checklist.id": ObjectId(before)}] if before else [])]
        for _ in range(MAX_ATTEMPTS):
            write = update({"checklist": after}, owner)
            changed = await self.tasks.update_one(owner, task_id, versions, write, conditions, session)
            if changed is not None:
                return changed
            stored = await self.tasks.find(owner, task_id, session=session)
            present = _stored_ids(stored)
            if new and item_id in present:
                return read(stored, owner)
            if versions is not None and version_of(stored) not in versions:
                raise PreconditionFailed(version_of(stored))
            if before and ObjectId(before) not in present:
                raise InvalidInput([FieldError("before", "There is no such item", "unknown_item")])
            if new and len(present) >= MAX_ITEMS:
                raise TooManyItems
            if not new and item_id not in present:
                raise NotFound("Checklist item not found")
            # Nothing speaks against the write: the task has changed since, for example come back from the trash.
        raise Contended


def _stored_ids(task: BSON) -> list[Any]:
    """The ids of all items as MongoDB compares them; a script may have stored others than ``read`` shows."""
    items = task.get("checklist")
    return [item.get("id") if isinstance(item, dict) else None for item in items] if isinstance(items, list) else []


def _parse_id(item_id: str) -> ObjectId:
    stored_id = object_id(item_id)
    if stored_id is None:
        raise NotFound("Checklist item not found")
    return stored_id


def _where(comparison: str, stored_id: ObjectId, of: BSON) -> BSON:
    return {"$filter": {"input": of, "as": "item", "cond": {comparison: ["$$item.id", stored_id]}}}


def _place(among: BSON, new: BSON | list[BSON], before: str | None) -> BSON:
    """The expression that inserts the items ``new`` into ``among``, before the item with that id or at the end."""
    if before is None:
        return {"$concatArrays": [among, new]}
    here = {"$cond": [{"$eq": ["$$this.id", ObjectId(before)]}, new, []]}
    placed = {"$concatArrays": ["$$value", here, ["$$this"]]}
    return {"$reduce": {"input": among, "initialValue": [], "in": placed}}
