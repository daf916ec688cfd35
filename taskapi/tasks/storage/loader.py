"""Reads single tasks. Those that are requested together are found by one query."""

import asyncio
from collections.abc import Collection

from bson import ObjectId

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.data_loader import DataLoader
from taskapi.core.errors import NotFound
from taskapi.core.fields import object_id
from taskapi.db.connection import BSON, Database
from taskapi.tasks.schemas import TaskRead
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.reading import PUBLIC, read
from taskapi.tasks.storage.scope import Scope

QUERIES = 2  # at the same time: MongoDB works on one while the other is decoded

Key = tuple[Scope, ObjectId]  # whose task, and its id


class TaskLoader:
    """Reads tasks by their ids, as they are now. The task of another owner is treated as missing."""

    def __init__(self, database: Database) -> None:
        self._tasks = database.collection(TaskDocument)
        self._found = DataLoader(self._find, QUERIES)

    async def get(self, owner: UserRead, task_id: str) -> TaskRead:
        """A task of ``owner``. Raises NotFound."""
        return read(await self.get_stored(owner, task_id), owner)

    async def get_stored(self, owner: UserRead, task_id: str) -> BSON:
        """The public fields of a task as they are stored. Raises NotFound."""
        return found(await self.ask(Scope.of(owner), task_id))

    def ask(self, scope: Scope, task_id: str) -> "asyncio.Future[BSON | None]":
        """The public fields of a task as they are stored, if there is one; for ``PendingCaller.beside``."""
        stored_id = object_id(task_id)
        if stored_id is not None:
            return self._found.ask((scope, stored_id))
        missing = asyncio.get_running_loop().create_future()
        missing.set_result(None)
        return missing

    async def _find(self, keys: Collection[Key]) -> dict[Key, BSON]:
        branches = [{**scope.outside_trash, "_id": task_id} for scope, task_id in keys]
        if len(branches) == 1:
            found = await self._tasks.find_one(branches[0], PUBLIC)
            return dict.fromkeys(keys, found) if found else {}
        cursor = self._tasks.find({"$or": branches}, PUBLIC, batch_size=len(branches) + 1)
        by_id = {task["_id"]: task for task in await cursor.to_list(None)}
        return {key: by_id[key[1]] for key in keys if key[1] in by_id and key[0].covers(by_id[key[1]])}


def found(stored: BSON | None) -> BSON:
    """The task that was looked up. Raises NotFound if there is none."""
    if stored is None:
        raise NotFound("Task not found")
    return stored
