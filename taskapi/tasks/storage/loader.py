"""Reads single tasks. Those that are requested together are found by one query."""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping

from bson import ObjectId

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.data_loader import DataLoader
from taskapi.core.errors import NotFound
from taskapi.core.fields import object_id
from taskapi.db.connection import BSON, Database, undecoded
from taskapi.db.raw import Raw, decode, object_id_of, raw
from taskapi.tasks.schemas import TaskRead
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.indexes import ID_INDEX
from taskapi.tasks.storage.reading import WITHOUT_INTERNAL, read
from taskapi.tasks.storage.scope import Scope

WITH_OWNER_ID: Mapping[str, int] = {name: shown for name, shown in WITHOUT_INTERNAL.items() if name != "owner_id"}
QUERIES = 2  # at the same time: MongoDB works on one while the other is decoded

Key = tuple[Scope, ObjectId]  # whose task, and its id


class TaskLoader:
    """Reads tasks by their ids, as they are now. The task of another owner is treated as missing."""

    def __init__(self, database: Database) -> None:
        self._tasks = undecoded(database.collection(TaskDocument))
        self._found = DataLoader(self._find, QUERIES)

    async def get(self, owner: UserRead, task_id: str) -> TaskRead:
        """A task of ``owner``. Raises NotFound."""
        return read(await self.get_stored(owner, task_id), owner)

    async def get_stored(self, owner: UserRead, task_id: str) -> BSON:
        """A task as it is stored, without internal fields. Raises NotFound."""
        return decode(found(await self.ask(Scope.of(owner), task_id)))

    def ask(self, scope: Scope, task_id: str) -> "asyncio.Future[Raw | None]":
        """A task as it is stored, if there is one; for ``PendingCaller.beside``."""
        stored_id = object_id(task_id)
        if stored_id is not None:
            return self._found.ask((scope, stored_id))
        missing = asyncio.get_running_loop().create_future()
        missing.set_result(None)
        return missing

    async def _find(self, keys: Collection[Key]) -> dict[Key, Raw]:
        branches = [{**scope.outside_trash, "_id": task_id} for scope, task_id in keys]
        if len(branches) == 1:
            only = await self._tasks.find_one(branches[0], WITHOUT_INTERNAL)
            return dict.fromkeys(keys, raw(only)) if only else {}
        asked = Counter(task_id for _, task_id in keys)
        fields = WITHOUT_INTERNAL if len(asked) == len(keys) else WITH_OWNER_ID
        cursor = self._tasks.find({"$or": branches}, fields, batch_size=len(branches) + 1, hint=ID_INDEX)
        by_id = {object_id_of(task): task for task in map(raw, await cursor.to_list(None))}
        return {
            (scope, task_id): task
            for scope, task_id in keys
            # A branch has found it. If it is not certain which one, because several owners asked for one id, look at its owner.
            if (task := by_id.get(task_id.binary)) and (asked[task_id] == 1 or scope.covers(decode(task)))
        }


def found(stored: Raw | None) -> Raw:
    """The task that was looked up. Raises NotFound if there is none."""
    if stored is None:
        raise NotFound("Task not found")
    return stored
