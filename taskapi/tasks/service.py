"""What can be done with tasks. The owner is part of every filter: a foreign task is a missing task."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from bson import ObjectId
from pydantic import TypeAdapter
from pymongo import ReturnDocument

from taskapi.clock import midnight, utc_now
from taskapi.database import BSON, Session, aggregate, collection
from taskapi.errors import NotFound, PreconditionFailed
from taskapi.fields import object_id
from taskapi.tasks.documents import TaskDocument
from taskapi.tasks.query import TaskQuery
from taskapi.tasks.schemas import OwnerRead, Status, TaskCreate, TaskRead, TaskSummary, TaskUpdate
from taskapi.users.schemas import UserRead

PUBLIC: dict[str, int] = {str(field.validation_alias or name): 1 for name, field in TaskRead.model_fields.items()}
LISTED = {name: 1 for name in PUBLIC if name != "owner"}  # all are the caller's: not read twenty times
SUMMARY = {"title": 1, "status": 1, "due_date": 1, "created_at": 1}
Versions = frozenset[int] | None  # those a change may meet; None for any
LookUp = Callable[[ObjectId], Awaitable[UserRead | None]]  # an account as it is now
_tasks = TypeAdapter(list[TaskRead])


class Page(NamedTuple):
    """Some tasks, and how many there are in all."""

    tasks: list[TaskRead]
    total: int


def _one(owner: UserRead, task_id: str, versions: Versions = None) -> BSON:
    """The filter of one task of ``owner`` at one of ``versions``. Raises NotFound for what is not an id at all."""
    identity = object_id(task_id)
    if identity is None:
        raise NotFound("Task not found")
    condition = {} if versions is None else {"version": {"$in": sorted(versions)}}
    return {"_id": identity, "owner.id": owner.object_id, **condition}


async def create(owner: UserRead, data: TaskCreate, look_up: LookUp) -> TaskRead:
    """Stores a new task of ``owner``, under the name they have once it is stored."""
    now = utc_now()
    done = data.completed or data.status is Status.done
    task: BSON = {
        "_id": ObjectId(),
        "title": data.title,
        "description": data.description,
        "status": data.status or (Status.done if done else Status.todo),
        "completed": done,
        "completed_at": now if done else None,
        "priority": data.priority,
        "due_date": data.due_date and midnight(data.due_date),
        "tags": data.tags,
        "links": data.links,
        "owner": {"id": owner.object_id, "username": owner.username},
        "created_at": now,
        "updated_at": now,
        "version": 1,
    }
    await collection(TaskDocument).insert_one(task)
    # A change of the name that was committed before the insert did not see this task; one committed later does.
    current = await look_up(owner.object_id)
    if current is not None and current.username != owner.username:
        await settle_owner(owner.object_id, current.username, look_up)
        return await get(owner, str(task["_id"]))
    return TaskRead.model_validate(task)


async def page(owner: UserRead, query: TaskQuery) -> Page:
    """The tasks that ``query`` asks for, and the total, in one round trip."""
    count = {"coll": collection(TaskDocument).name, "pipeline": query.count(owner.object_id)}
    found = await aggregate(TaskDocument, [*query.page(owner.object_id), {"$project": LISTED}, {"$unionWith": count}])
    # Counting nothing gives no document, also when the last task was deleted between the page and the count.
    total = found.pop()["total"] if found and "total" in found[-1] else len(found)
    theirs = OwnerRead(id=owner.id, username=owner.username)
    for task in found:
        task["owner"] = theirs
    return Page(_tasks.validate_python(found), total)


async def get(owner: UserRead, task_id: str) -> TaskRead:
    """One task. Raises NotFound."""
    task = await collection(TaskDocument).find_one(_one(owner, task_id), PUBLIC)
    if task is None:
        raise NotFound("Task not found")
    return TaskRead.model_validate(task)


async def summary(owner: UserRead, task_id: str) -> TaskSummary:
    """One task in brief. Raises NotFound."""
    task = await collection(TaskDocument).find_one(_one(owner, task_id), SUMMARY)
    if task is None:
        raise NotFound("Task not found")
    return TaskSummary.of(task)


async def change(owner: UserRead, task_id: str, data: TaskUpdate, versions: Versions) -> TaskRead:
    """Changes the fields that were sent, in one atomic write; nothing sent, nothing written.

    Raises:
        NotFound: there is no such task of ``owner``.
        PreconditionFailed: it has none of ``versions``.
    """
    if not data.model_fields_set:
        task = await get(owner, task_id)
        if versions is not None and task.version not in versions:
            raise PreconditionFailed(task.version)
        return task
    changed = await collection(TaskDocument).find_one_and_update(
        _one(owner, task_id, versions), _update(data), PUBLIC, return_document=ReturnDocument.AFTER
    )
    if changed is None:
        raise await _why_unmatched(owner, task_id)
    return TaskRead.model_validate(changed)


async def _why_unmatched(owner: UserRead, task_id: str) -> NotFound | PreconditionFailed:
    found = await collection(TaskDocument).find_one(_one(owner, task_id), {"version": 1})
    return PreconditionFailed(found["version"]) if found else NotFound("Task not found")


def _update(data: TaskUpdate) -> list[BSON]:
    """The change as an update pipeline: what follows from the stored status is worked out where it is stored."""
    now = utc_now()
    values = data.model_dump(exclude_unset=True, exclude={"status", "completed"})
    if values.get("due_date"):
        values["due_date"] = midnight(values["due_date"])
    # $literal, or a text that begins with a dollar would be read as the name of a field
    fields: BSON = {name: {"$literal": value} for name, value in values.items()}
    fields |= {"updated_at": now, "version": {"$add": ["$version", 1]}}
    is_done = {"$eq": ["$status", Status.done]}
    if data.status or data.completed:
        fields["status"] = data.status or Status.done
    elif data.completed is not None:
        fields["status"] = {"$cond": [is_done, Status.todo, "$status"]}
    if "status" not in fields:
        return [{"$set": fields}]
    completed_at = {"$cond": [is_done, {"$ifNull": ["$completed_at", now]}, None]}
    return [{"$set": fields}, {"$set": {"completed": is_done, "completed_at": completed_at}}]


async def delete(owner: UserRead, task_id: str, versions: Versions) -> None:
    """Deletes one task, when it has one of ``versions``. Raises NotFound, PreconditionFailed."""
    result = await collection(TaskDocument).delete_one(_one(owner, task_id, versions))
    if result.deleted_count == 0:
        raise await _why_unmatched(owner, task_id)


async def rename_owner(owner: ObjectId, username: str, session: Session | None = None) -> None:
    """Writes the owner's new name into those of their tasks that have another."""
    await collection(TaskDocument).update_many(
        {"owner.id": owner, "owner.username": {"$ne": username}},
        {"$set": {"owner.username": username}, "$inc": {"version": 1}},
        session=session,
    )


async def settle_owner(owner: ObjectId, username: str, look_up: LookUp) -> None:
    """Writes the owner's name into their tasks until it is the one they have afterwards: renames may overlap."""
    while True:
        await rename_owner(owner, username)
        current = await look_up(owner)
        if current is None or current.username == username:
            return
        username = current.username
