"""Creates and changes single tasks. The task of another owner is treated as missing."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic_core import PydanticCustomError

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.clock import utc_now
from taskapi.core.errors import FieldError, InvalidInput
from taskapi.core.ids import new_id
from taskapi.db.connection import BSON, Session
from taskapi.db.expressions import literals
from taskapi.tasks.metadata import check, merge
from taskapi.tasks.schemas import Status, TaskCreate, TaskRead, TaskUpdate
from taskapi.tasks.services.json_patch import Operation, changes
from taskapi.tasks.services.put import TaskPut
from taskapi.tasks.storage import history, rules
from taskapi.tasks.storage.history import Versions
from taskapi.tasks.storage.marks import begin_status_changes
from taskapi.tasks.storage.pipelines import Write, direct_values, fields_of, progress, stored_items, update
from taskapi.tasks.storage.reading import read, reference, sound
from taskapi.tasks.storage.repository import TaskRepository
from taskapi.tasks.storage.scope import ACTIVE


@dataclass(frozen=True, slots=True)
class TaskService:
    """Creates and changes single tasks."""

    tasks: TaskRepository

    async def create(self, owner: UserRead, data: TaskCreate) -> TaskRead:
        """Stores a new task of ``owner``.

        If an earlier run of this request has stored it, the result is what that run would have returned.
        """
        task = new_task(owner, data)
        created_at = await self.tasks.insert(owner, task)
        if created_at is not None:
            # The request is the same, so all but the time is known; the task itself may have changed since.
            completed_at = created_at if task["completed"] else None
            task |= {"created_at": created_at, "updated_at": created_at, "completed_at": completed_at}
        return read(task, owner)

    async def update(
        self, owner: UserRead, task_id: str, data: TaskUpdate, versions: Versions, session: Session | None = None
    ) -> TaskRead:
        """Changes the fields that were sent, in one atomic write. If no field was sent, nothing is written.

        Raises:
            NotFound: there is no such task of ``owner``.
            PreconditionFailed: it has none of ``versions``.
            InvalidInput: with the stored values, the metadata would exceed its limits, or a rule between two fields is broken.
            Contended: too many requests change it at the same time.
        """
        if data.model_fields_set and "metadata" not in data.model_fields_set:
            write = update(fields_of(data), owner)
            task = await self.tasks.update_one(owner, task_id, versions, write, rules.conditions(data), session)
            if task is not None:
                return task

        async def prepare(stored: BSON) -> Write | None:
            return prepare_update(stored, data, owner)

        # If there is nothing to retry, this raises the reason why nothing was written.
        return await self.tasks.update_with_retry(owner, task_id, versions, prepare, session=session)

    async def put(self, owner: UserRead, task_id: str, data: TaskPut, versions: Versions) -> TaskRead:
        """Changes a task like ``update``. Fields that only the server sets may be sent if they equal those of the stored task.

        Raises:
            NotFound, PreconditionFailed, InvalidInput, Contended: see ``update``.
            InvalidInput: names each of the server's fields that differs.
        """
        if not data.has_read_only:
            return await self.update(owner, task_id, data, versions)

        async def prepare(stored: BSON) -> Write | None:
            task = read(stored, owner)
            if faults := data.differences(task):
                raise InvalidInput(faults)
            return prepare_update(stored, data.changes(task), owner)

        return await self.tasks.update_with_retry(owner, task_id, versions, prepare)

    async def patch(self, owner: UserRead, task_id: str, operations: Sequence[Operation], versions: Versions) -> TaskRead:
        """Applies a JSON Patch to a task, in one atomic write. If nothing changes, nothing is written.

        Raises:
            NotFound, PreconditionFailed, Contended: see ``update``.
            PatchTestFailed: a ``test`` failed.
            InvalidInput: an operation cannot be applied, or the patched task is not valid.
        """

        async def prepare(stored: BSON) -> Write | None:
            data = await changes(read(stored, owner), operations)
            if not data.model_fields_set:
                return None
            rules.check(data, stored, owner)
            whole = {"metadata": data.metadata or {}} if "metadata" in data.model_fields_set else {}
            return update({**fields_of(data), **literals(whole)}, owner)

        return await self.tasks.update_with_retry(owner, task_id, versions, prepare)


def new_task(owner: UserRead, data: TaskCreate) -> BSON:
    """A new task of ``owner`` as it is stored."""
    now = utc_now()
    done = data.completed or data.status is Status.done
    checklist = stored_items(data.checklist)
    status = data.status or (Status.done if done else Status.todo)
    return {
        "_id": new_id(),
        "owner_id": owner.object_id,
        "state": ACTIVE,
        **direct_values(data, unset=True),
        "status": status,
        "completed": done,
        "completed_at": now if done else None,
        "checklist": checklist,
        "progress": progress(checklist, done),
        "metadata": data.metadata,
        "owner": reference(owner),
        "created_at": now,
        "updated_at": now,
        "version": 1,
        "status_changes": begin_status_changes(status, now, None),
        "history": history.begin_history(owner, now),
    }


def prepare_update(stored: BSON, data: TaskUpdate, by: UserRead) -> Write | None:
    """The write that changes a stored task; None if no field was sent. Raises InvalidInput: see ``TaskService.update``."""
    rules.check(data, stored, by)
    if "metadata" in data.model_fields_set:
        # The result of the merge depends on the stored metadata, so it can be checked only now.
        return _with_metadata(stored, data, by)
    return update(fields_of(data), by) if data.model_fields_set else None


def _with_metadata(stored: BSON, data: TaskUpdate, by: UserRead) -> Write:
    metadata = {} if data.metadata is None else merge(sound(stored, by)["metadata"], data.metadata)
    try:
        check(metadata)
    except PydanticCustomError as error:
        raise InvalidInput([FieldError("metadata", error.message(), error.type)]) from None
    return update({**fields_of(data), **literals({"metadata": metadata})}, by)
