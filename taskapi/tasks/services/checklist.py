"""The checklist of a task. Each change is one atomic array operation, so two people can tick two items at the same time."""

from dataclasses import dataclass

from bson import ObjectId

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.errors import FieldError, InvalidInput, NotFound, PreconditionFailed
from taskapi.core.fields import object_id
from taskapi.db.connection import BSON, Session
from taskapi.tasks.errors import TooManyItems
from taskapi.tasks.schemas import MAX_ITEMS, ItemCreate, ItemUpdate, TaskRead
from taskapi.tasks.storage.history import Versions
from taskapi.tasks.storage.pipelines import STORED_CHECKLIST, update
from taskapi.tasks.storage.reading import read
from taskapi.tasks.storage.repository import TaskRepository

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
        """
        item = {"id": item_id, "text": data.text, "done": data.done}
        added = _place(STORED_CHECKLIST, [{"$literal": item}], data.before)
        condition = {**HAS_ROOM, "checklist.id": {"$ne": item_id}}
        return await self._write(owner, task_id, versions, added, condition, data.before, str(item_id), session)

    async def update(self, owner: UserRead, task_id: str, item_id: str, data: ItemUpdate, versions: Versions) -> TaskRead:
        """Changes an item's text, ticks it, or moves it before another (None: to the end). Returns the task after the change.

        If no field was sent, nothing is written.

        Raises:
            NotFound: there is no such task, or no such item in it.
            PreconditionFailed: it has none of ``versions``.
            InvalidInput: the task has no item ``data.before``.
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
        return await self._write(owner, task_id, versions, after, {"checklist.id": stored_id}, before=data.before)

    async def remove(self, owner: UserRead, task_id: str, item_id: str, versions: Versions) -> TaskRead:
        """Removes an item. Returns the task after the change.

        Raises:
            NotFound: there is no such task, or no such item in it.
            PreconditionFailed: it has none of ``versions``.
        """
        stored_id = _parse_id(item_id)
        return await self._write(
            owner, task_id, versions, _where("$ne", stored_id, STORED_CHECKLIST), {"checklist.id": stored_id}
        )

    async def _write(
        self,
        owner: UserRead,
        task_id: str,
        versions: Versions,
        after: BSON,
        condition: BSON,
        before: str | None = None,
        new: str | None = None,
        session: Session | None = None,
    ) -> TaskRead:
        conditions = [condition, *([{"checklist.id": ObjectId(before)}] if before else [])]
        write = update({"checklist": after}, owner)
        changed = await self.tasks.update_one(owner, task_id, versions, write, conditions, session)
        if changed is not None:
            return changed
        task = read(await self.tasks.find(owner, task_id, session=session), owner)
        present = {item.id for item in task.checklist}
        if new in present:
            return task
        if versions is not None and task.version not in versions:
            raise PreconditionFailed(task.version)
        if before and before not in present:
            raise InvalidInput([FieldError("before", "There is no such item", "unknown_item")])
        if new:
            raise TooManyItems
        raise NotFound("Checklist item not found")


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
