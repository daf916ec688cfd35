"""What can be done with tasks. The owner is part of every filter: a foreign task is a missing task."""

from collections.abc import Awaitable, Callable, Sequence

from bson import ObjectId
from pydantic_core import PydanticCustomError
from pymongo.errors import DuplicateKeyError

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.clock import utc_now
from taskapi.core.errors import DatabaseUnavailable, FieldError, InvalidInput
from taskapi.core.ids import new_id
from taskapi.db.connection import BSON, Session, acknowledged, collection
from taskapi.tasks.metadata import check, merged
from taskapi.tasks.put import TaskPut
from taskapi.tasks.schemas import Status, TaskCreate, TaskRead, TaskUpdate
from taskapi.tasks.services.json_patch import Operation, changes
from taskapi.tasks.storage import history, owner_names, rules
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.inserter import TaskInserter
from taskapi.tasks.storage.pipelines import direct_values, fields_of, literal, progress, stored_items, update
from taskapi.tasks.storage.reading import read, reference, sound
from taskapi.tasks.storage.repository import Versions, revise, write

LookUp = Callable[[ObjectId], Awaitable[UserRead | None]]  # an account as it is now


async def create(owner: UserRead, data: TaskCreate, inserter: TaskInserter, look_up: LookUp) -> TaskRead:
    """Stores a new task of ``owner``, under the name they have once it is stored.

    When an earlier run of the same request has stored it, the answer is what that run would have given.
    """
    task = new_task(owner, data)
    try:
        await inserter.insert(task)
    except DuplicateKeyError:
        theirs = {"$or": [{"owner.id": owner.object_id}, {"trash.owner.id": owner.object_id}]}
        first = await acknowledged(collection(TaskDocument)).find_one({"_id": task["_id"], **theirs}, {"created_at": 1})
        if first is None:
            if await collection(TaskDocument).find_one({"_id": task["_id"], **theirs}, {"_id": 1}):
                raise DatabaseUnavailable from None  # what that run has stored may still be lost
            raise
        # The request is the same, so all but the time is known; the task itself may have changed since.
        made = first["created_at"]
        task |= {"created_at": made, "updated_at": made, "completed_at": made if task["completed"] else None}
    return await settled(owner, task, look_up)


async def settled(owner: UserRead, task: BSON, look_up: LookUp) -> TaskRead:
    """A task that has just become one of ``owner``, under the name they have once it is stored."""
    return read(task, await sync_owner_name(owner, look_up, [task["_id"]]))


async def sync_owner_name(owner: UserRead, look_up: LookUp, ids: Sequence[ObjectId]) -> UserRead:
    """Gives tasks that have just been stored the name their owner has now; the owner by that name."""
    # The copies of a name that changed before these were stored may have been written already; later ones find these.
    while (current := await look_up(owner.object_id)) is not None and current.username != owner.username:
        await owner_names.write(owner.object_id, current.username, ids)
        owner = current
    return owner


def new_task(owner: UserRead, data: TaskCreate) -> BSON:
    """A new task of ``owner`` as MongoDB keeps it."""
    now = utc_now()
    done = data.completed or data.status is Status.done
    checklist = stored_items(data.checklist)
    return {
        "_id": new_id(),
        **direct_values(data, unset=True),
        "status": data.status or (Status.done if done else Status.todo),
        "completed": done,
        "completed_at": now if done else None,
        "checklist": checklist,
        "progress": progress(checklist, done),
        "metadata": data.metadata,
        "owner": reference(owner),
        "created_at": now,
        "updated_at": now,
        "version": 1,
        "history": history.first(owner, now),
    }


async def change(owner: UserRead, task_id: str, data: TaskUpdate, versions: Versions, session: Session | None = None) -> TaskRead:
    """Changes the fields that were sent, in one atomic write; nothing sent, nothing written.

    Raises:
        NotFound: there is no such task of ``owner``.
        PreconditionFailed: it has none of ``versions``.
        InvalidInput: with what it has already, the metadata would be over its limits, or a rule between two fields is broken.
        Contended: too many change it at once.
    """
    if data.model_fields_set and "metadata" not in data.model_fields_set:
        pipeline = update(fields_of(data), owner)
        task = await write(owner, task_id, versions, pipeline, rules.conditions(data), session)
        if task is not None:
            return task

    async def work(stored: BSON) -> list[BSON] | None:
        return _changed(stored, data, owner)

    return await revise(owner, task_id, versions, work, session=session)  # or it raises why nothing was written


async def put(owner: UserRead, task_id: str, data: TaskPut, versions: Versions) -> TaskRead:
    """Changes a task as ``change`` does; the server's fields may be sent as the version that is written has them.

    Raises:
        NotFound, PreconditionFailed, InvalidInput, Contended: as ``change``.
        InvalidInput: names each of the server's fields that differs.
    """
    if not data.has_read_only:
        return await change(owner, task_id, data, versions)

    async def as_read(stored: BSON) -> list[BSON] | None:
        task = read(stored, owner)
        if faults := data.differences(task):
            raise InvalidInput(faults)
        return _changed(stored, data.changes(task), owner)

    return await revise(owner, task_id, versions, as_read)


def _changed(stored: BSON, data: TaskUpdate, by: UserRead) -> list[BSON] | None:
    rules.check(data, stored, by)
    if "metadata" in data.model_fields_set:
        # What the merge makes can be known, and so be checked, only from what is there.
        return _with_metadata(stored, data, by)
    return update(fields_of(data), by) if data.model_fields_set else None


def _with_metadata(stored: BSON, data: TaskUpdate, by: UserRead) -> list[BSON]:
    metadata = {} if data.metadata is None else merged(sound(stored, by)["metadata"], data.metadata)
    try:
        check(metadata)
    except PydanticCustomError as error:
        raise InvalidInput([FieldError("metadata", error.message(), error.type)]) from None
    return update({**fields_of(data), **literal({"metadata": metadata})}, by)


async def patch(owner: UserRead, task_id: str, operations: Sequence[Operation], versions: Versions) -> TaskRead:
    """Carries out a JSON Patch on a task, in one atomic write; nothing changed, nothing written.

    Raises:
        NotFound, PreconditionFailed, Contended: as ``change``.
        PatchTestFailed: a ``test`` does not hold.
        InvalidInput: an operation cannot be carried out, or the patched task is not valid.
    """

    async def patched(stored: BSON) -> list[BSON] | None:
        data = await changes(read(stored, owner), operations)
        if not data.model_fields_set:
            return None
        rules.check(data, stored, owner)
        whole = {"metadata": data.metadata or {}} if "metadata" in data.model_fields_set else {}
        return update({**fields_of(data), **literal(whole)}, owner)

    return await revise(owner, task_id, versions, patched)
