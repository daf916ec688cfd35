"""Reading single tasks: those that are asked for together are found by one query."""

from collections.abc import Collection

from bson import ObjectId

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.data_loader import DataLoader
from taskapi.core.errors import NotFound
from taskapi.core.fields import object_id
from taskapi.db.connection import BSON, collection
from taskapi.tasks.schemas import TaskRead
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.reading import read
from taskapi.tasks.storage.repository import PUBLIC

QUERIES = 2  # at the same time: while the one is decoded, MongoDB works on the other

Key = tuple[ObjectId, ObjectId]  # of the owner and of the task


class TaskLoader:
    """The tasks that one application reads by their ids. The owner is in every filter: a foreign task is a missing task."""

    def __init__(self) -> None:
        self._found = DataLoader(_find, QUERIES)

    async def get(self, owner: UserRead, task_id: str) -> TaskRead:
        """A task of ``owner``, as it is now. Raises NotFound."""
        return read(await self.stored(owner, task_id), owner)

    async def stored(self, owner: UserRead, task_id: str) -> BSON:
        """The same as MongoDB keeps it, without what is not public."""
        identity = object_id(task_id)
        stored = await self._found.get((owner.object_id, identity)) if identity else None
        if stored is None:
            raise NotFound("Task not found")
        return stored


async def _find(keys: Collection[Key]) -> dict[Key, BSON]:
    branches = [{"_id": task, "owner.id": owner} for owner, task in keys]
    if len(branches) == 1:
        found = await collection(TaskDocument).find_one(branches[0], PUBLIC)
        return dict.fromkeys(keys, found) if found else {}
    cursor = collection(TaskDocument).find({"$or": branches}, PUBLIC, batch_size=len(branches) + 1)
    return {(task["owner"]["id"], task["_id"]): task for task in await cursor.to_list(None)}
