"""Renames the copies of a user's name in their tasks. They are for readers of the database; the API shows the account's name."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from bson import ObjectId

from taskapi.db.batches import batches_of_ids, write_all
from taskapi.db.connection import BSON, Database
from taskapi.db.expressions import list_or_empty
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.indexes import ID_INDEX
from taskapi.tasks.storage.marks import NEXT_CHANGED_AT
from taskapi.tasks.storage.scope import ACTIVE, IN_TRASH, Scope

BATCH = 100  # tasks per operation, so that other requests wait at most a few milliseconds for it


class OwnerNameRepository:
    """Finds the copies of an account's name in its tasks, and renames them."""

    def __init__(self, database: Database) -> None:
        self._tasks = database.collection(TaskDocument)

    async def batches(self, user_id: ObjectId) -> AsyncGenerator[list[ObjectId], None]:
        """Yields the ids of all tasks of an account, including the trash.

        A task that changes meanwhile may be left out or come twice.
        """
        async with aclosing(batches_of_ids(self._tasks, Scope.owned_by(user_id).anywhere, BATCH)) as found:
            async for ids in found:
                yield ids

    async def write(self, user_id: ObjectId, username: str, ids: Sequence[ObjectId]) -> int:
        """Sets the copies in those tasks to ``username``. Returns how many tasks changed.

        Their versions and ``updated_at`` stay, and so does a task that a script has made impossible to write.
        """
        other = {"$ne": username}
        stale: list[BSON] = [
            {"state": ACTIVE, "owner.username": other},
            {"state": IN_TRASH, "trash.owner.username": other},
            {"history": {"$elemMatch": {"by.id": user_id, "by.username": other}}},
        ]

        async def write(some: Sequence[ObjectId]) -> int:
            matching = {**Scope.owned_by(user_id).anywhere, "_id": {"$in": list(some)}, "$or": stale}
            return (await self._tasks.update_many(matching, _rename(user_id, username), hint=ID_INDEX)).modified_count

        changed, _ = await write_all(write, ids)
        return changed


def _rename(user: ObjectId, username: str) -> list[BSON]:
    reference = {"$literal": {"id": user, "username": username}}

    def is_user(path: str) -> BSON:
        return {"$or": [{"$eq": [path, user]}, {"$in": [user, list_or_empty(path)]}]}  # a script may have stored a list

    in_trash = {"$and": [{"$eq": [{"$type": "$trash"}, "object"]}, is_user("$trash.owner.id")]}
    entry = {"$cond": [is_user("$$entry.by.id"), {"$mergeObjects": ["$$entry", {"by": reference}]}, "$$entry"]}
    entries = {"$map": {"input": "$history", "as": "entry", "in": entry}}
    renamed: BSON = {
        "owner": {"$cond": [is_user("$owner.id"), reference, "$owner"]},
        "trash": {"$cond": [in_trash, {"$mergeObjects": ["$trash", {"owner": reference}]}, "$trash"]},
        "history": {"$cond": [{"$isArray": "$history"}, entries, "$history"]},
    }
    # A task without a copy of this account's name stays as it is, or it would count as changed each time.
    is_changed = {"$or": [{"$ne": [value, f"${name}"]} for name, value in renamed.items()]}
    return [{"$set": {"changed_at": {"$cond": [is_changed, NEXT_CHANGED_AT, "$changed_at"]}, **renamed}}]
