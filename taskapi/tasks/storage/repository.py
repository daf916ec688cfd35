"""Reads and atomically writes single tasks. The task of another owner is treated as missing."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from bson import ObjectId
from pymongo.errors import BulkWriteError, DuplicateKeyError

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.errors import DatabaseUnavailable, NotFound, PreconditionFailed
from taskapi.core.fields import object_id
from taskapi.db.codes import DUPLICATE_KEY
from taskapi.db.connection import BSON, Database, Session, acknowledged
from taskapi.db.errors import lacks_durability
from taskapi.db.transactions import transaction
from taskapi.tasks.errors import Contended
from taskapi.tasks.schemas import TaskRead
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.history import Versions, at_version
from taskapi.tasks.storage.inserter import TaskInserter
from taskapi.tasks.storage.marks import mark_new
from taskapi.tasks.storage.pipelines import Write
from taskapi.tasks.storage.reading import PUBLIC, read, version_of
from taskapi.tasks.storage.scope import Scope
from taskapi.tasks.storage.updater import TaskUpdater

Result = TypeVar("Result")
Prepare = Callable[[BSON], Awaitable[Write | None]]  # returns the write for a stored task; None to write nothing

MAX_ATTEMPTS = 100


def task_filter(owner: UserRead, task_id: str, versions: Versions = None) -> BSON:
    """The filter of one task of ``owner`` at one of ``versions``. Raises NotFound if ``task_id`` is not an id."""
    stored_id = object_id(task_id)
    if stored_id is None:
        raise NotFound("Task not found")
    return {**Scope.of(owner).outside_trash, "_id": stored_id, **at_version(versions)}


class TaskRepository:
    """Reads and writes single tasks. New tasks are stored through ``inserter``, and changed through ``updater``."""

    def __init__(self, database: Database, inserter: TaskInserter, updater: TaskUpdater) -> None:
        self._tasks = database.collection(TaskDocument)
        self._inserter = inserter
        self._updater = updater

    async def find(
        self,
        owner: UserRead,
        task_id: str,
        versions: Versions = None,
        projection: Mapping[str, int] = PUBLIC,
        session: Session | None = None,
    ) -> BSON:
        """The stored task as it is now.

        Raises:
            NotFound: there is no such task of ``owner``.
            PreconditionFailed: it has none of ``versions``.
        """
        stored = await self._tasks.find_one(task_filter(owner, task_id), projection, session=session)
        if stored is None:
            raise NotFound("Task not found")
        if versions is not None and version_of(stored) not in versions:
            raise PreconditionFailed(version_of(stored))
        return stored

    async def insert(self, owner: UserRead, task: BSON) -> datetime | None:
        """Stores a new task of ``owner``. Returns the creation time if an earlier run of this request has stored it, else None.

        Raises:
            DatabaseUnavailable: no majority holds yet what that run has stored, so it may be lost.
            DuplicateKeyError: the id belongs to another task.
        """
        try:
            await self._inserter.insert(task)
        except DuplicateKeyError:
            if (first := await self.find_earlier(owner, task["_id"])) is None:
                raise
            created_at: datetime = first["created_at"]
            return created_at
        return None

    async def insert_many(self, tasks: Sequence[BSON], session: Session | None = None) -> None:
        """Stores new tasks. Without a ``session``, those that an earlier run of this request has stored are left as they are."""
        mark_new(tasks)
        try:
            await self._tasks.insert_many(tasks, ordered=False, session=session)
        except BulkWriteError as error:
            others = [fault for fault in error.details["writeErrors"] if fault.get("code") != DUPLICATE_KEY]
            if others or session is not None or lacks_durability(error):
                raise

    async def find_earlier(self, owner: UserRead, task_id: ObjectId) -> BSON | None:
        """The task that an earlier run of this request has created; None if there is none.

        A repeated request finds it by its id, because the ids of new tasks are derived from the Idempotency-Key.

        Raises:
            DatabaseUnavailable: no majority holds yet what that run has stored, so it may be lost.
        """
        matching = {**Scope.of(owner).anywhere, "_id": task_id}
        if await self._tasks.find_one(matching, {"_id": 1}) is None:
            return None
        first = await acknowledged(self._tasks).find_one(matching, {"created_at": 1})
        if first is None:
            raise DatabaseUnavailable
        return first

    async def update_one(
        self,
        owner: UserRead,
        task_id: str,
        versions: Versions,
        write: Write,
        conditions: Sequence[BSON] = (),
        session: Session | None = None,
    ) -> TaskRead | None:
        """Changes a task in one atomic write.

        Returns None if there is no such task, it has none of ``versions``, or it does not meet all ``conditions``.

        Raises NotFound if ``task_id`` is not an id.
        """
        matching = task_filter(owner, task_id)
        if conditions:
            matching["$and"] = list(conditions)
        changed = await self._updater.update(Scope.of(owner), matching, versions, write, session)
        return None if changed is None else read(changed, owner)

    async def update_with_retry(
        self,
        owner: UserRead,
        task_id: str,
        versions: Versions,
        prepare: Prepare,
        projection: Mapping[str, int] = PUBLIC,
        session: Session | None = None,
    ) -> TaskRead:
        """Makes the change that ``prepare`` returns for the stored task, if its version is still the same.

        Starts again if the task has changed in between; writes nothing if ``prepare`` returns None.

        Raises:
            NotFound: there is no such task of ``owner``.
            PreconditionFailed: it has none of ``versions``.
            Exception: whatever ``prepare`` raises.
            Contended: the task has changed in between 100 times.
        """
        for _ in range(MAX_ATTEMPTS):
            stored = await self.find(owner, task_id, versions, projection, session)
            write = await prepare(stored)
            if write is None:
                return read(stored, owner)
            task = await self.update_one(owner, task_id, frozenset([version_of(stored)]), write, session=session)
            if task is not None:
                return task
        raise Contended

    async def move_to_trash(
        self, owner: UserRead, task_id: str, versions: Versions, pipeline: list[BSON], session: Session | None = None
    ) -> None:
        """Applies ``trash_pipeline`` to one task.

        Raises:
            NotFound: there is no such task of ``owner``.
            PreconditionFailed: it has none of ``versions``.
            Contended: the task has come and gone 100 times.
        """
        for _ in range(MAX_ATTEMPTS):
            result = await self._tasks.update_one(task_filter(owner, task_id, versions), pipeline, session=session)
            if result.matched_count:
                return
            await self.find(owner, task_id, versions, {"version": 1}, session)  # says why, unless the task has changed since
        raise Contended

    async def transaction(self, work: Callable[[Any], Awaitable[Result]]) -> Result:
        """Runs ``work`` with the session of a transaction, and again if MongoDB asks to retry it.

        Raises TransactionsUnsupported on a standalone server.
        """
        return await transaction(self._tasks, work, required=True)
