"""Lists, restores and removes tasks in the trash.

A task in the trash has another state, so queries on an owner's tasks cannot find it. It expires at ``trash.expires_at``:
then a background job purges it.
"""

from collections.abc import Sequence
from contextlib import aclosing

from bson import ObjectId
from pymongo import DESCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.clock import utc_now
from taskapi.core.cooperative import background_batch
from taskapi.core.errors import NotFound
from taskapi.core.fields import object_id
from taskapi.db.batches import batches_of_ids, write_all
from taskapi.db.connection import BSON, Database, Session
from taskapi.db.expressions import list_or_empty
from taskapi.tasks.errors import KeyTaken
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.history import Action
from taskapi.tasks.storage.pipelines import restore_pipeline
from taskapi.tasks.storage.reading import PUBLIC
from taskapi.tasks.storage.repository import task_filter
from taskapi.tasks.storage.scope import IN_TRASH, Scope
from taskapi.web.pagination import Page, PageQuery

PURGE_BATCH = 100  # tasks per operation, so that other requests wait at most a few milliseconds for it
LAST_DELETED_FIRST = {"trash.deleted_at": DESCENDING, "_id": DESCENDING}
RESTORED_LAST: BSON = {"$expr": {"$eq": [{"$last": list_or_empty("$history.action")}, Action.restore]}}


class TrashRepository:
    """Lists, restores and purges tasks in the trash. An expired task is treated as missing, even before it is purged."""

    def __init__(self, database: Database) -> None:
        self._tasks = database.collection(TaskDocument)

    async def find_page(self, owner: UserRead, query: PageQuery, milliseconds: int) -> Page[BSON]:
        """A page of the stored tasks in the trash of ``owner``, last deleted first. The query may take ``milliseconds``."""
        return await query.find(self._tasks, _unexpired(owner), LAST_DELETED_FIRST, {**PUBLIC, "trash": 1}, milliseconds)

    async def restore(self, owner: UserRead, task_id: str, session: Session | None = None) -> BSON:
        """Takes a task out of the trash and returns it as stored; a task whose last change was a restore stays as it is.

        Raises:
            NotFound: the trash of ``owner`` has no such task.
            KeyTaken: another task has taken its external key.
        """
        pipeline = restore_pipeline(owner, utc_now())
        try:
            restored = await self._tasks.find_one_and_update(
                _task_filter(owner, task_id), pipeline, PUBLIC, return_document=ReturnDocument.AFTER, session=session
            )
        except DuplicateKeyError:
            raise KeyTaken from None
        if restored is None:
            restored = await self._tasks.find_one({**task_filter(owner, task_id), **RESTORED_LAST}, PUBLIC, session=session)
        if restored is None:
            raise _not_found()
        return restored

    async def purge(self, owner: UserRead, task_id: str, pipeline: list[BSON]) -> None:
        """Applies ``purge_pipeline`` to a task in the trash. Raises NotFound."""
        result = await self._tasks.update_one(_task_filter(owner, task_id), pipeline)
        if result.matched_count == 0:
            raise _not_found()

    async def purge_expired(self, pipeline: list[BSON]) -> None:
        """Applies ``purge_pipeline`` to all expired tasks of all owners. Of several workers that do, one purges each task.

        A task that MongoDB refuses to write, because of what a script has stored in it, stays in the trash.
        """
        expired: BSON = {"state": IN_TRASH, "trash.expires_at": {"$lte": utc_now()}}

        async def write(ids: Sequence[ObjectId]) -> int:
            return (await self._tasks.update_many({**expired, "_id": {"$in": ids}}, pipeline)).modified_count

        async with aclosing(batches_of_ids(self._tasks, expired, PURGE_BATCH)) as batches:
            async for ids in batches:
                async with background_batch():
                    await write_all(write, ids)


def _unexpired(owner: UserRead) -> BSON:
    return {**Scope.of(owner).in_trash, "trash.expires_at": {"$gt": utc_now()}}


def _task_filter(owner: UserRead, task_id: str) -> BSON:
    stored_id = object_id(task_id)
    if stored_id is None:
        raise _not_found()
    return {**_unexpired(owner), "_id": stored_id}


def _not_found() -> NotFound:
    return NotFound("Task not found in the trash")
