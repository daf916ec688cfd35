"""The reads and writes of an import: tasks by their ids and keys, and bulk writes that depend on the versions read."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from bson import ObjectId
from pymongo import InsertOne, UpdateOne
from pymongo.errors import BulkWriteError

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.unicode import spellings
from taskapi.db.codes import DUPLICATE_KEY, FAILED_VALIDATION
from taskapi.db.connection import BSON, Database
from taskapi.db.errors import lacks_durability
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.history import at_version, changed_by
from taskapi.tasks.storage.indexes import ID_INDEX
from taskapi.tasks.storage.marks import mark_new
from taskapi.tasks.storage.pipelines import replace_tombstone
from taskapi.tasks.storage.reading import PUBLIC, version_of
from taskapi.tasks.storage.scope import IN_TRASH, Scope

FOUND = {**PUBLIC, "state": 1, "trash": 1}


class Update(NamedTuple):
    """A stored task, and the update pipeline that was prepared for it."""

    stored: BSON
    pipeline: list[BSON]


class BulkResult(NamedTuple):
    """The outcome of a bulk write."""

    taken: dict[int, BSON]  # the id or key that another task has already, by the number of the insert
    matched: int  # updates whose task still had the version they were prepared for


class ImportRepository:
    """Finds the tasks that an import names, and writes them."""

    def __init__(self, database: Database) -> None:
        self._tasks = database.collection(TaskDocument)

    async def find_by_ids(self, owner: UserRead, ids: Sequence[ObjectId]) -> list[BSON]:
        """The tasks of ``owner`` with these ids, including the trash.

        Tombstones are among them: ``write`` can put a task in the place of one. Tasks whose state a script has removed are, too.
        """
        return await self._find({**Scope.of(owner).anywhere, "_id": {"$in": list(ids)}}, hint=ID_INDEX) if ids else []

    async def find_by_keys(self, owner: UserRead, keys: Iterable[str]) -> list[BSON]:
        """The tasks of ``owner`` outside the trash with these keys, in any Unicode form."""
        stored = [form for key in keys for form in spellings(key)]
        return await self._find({**Scope.of(owner).outside_trash, "key": {"$in": stored}}) if stored else []

    async def _find(self, matching: BSON, hint: str | None = None) -> list[BSON]:
        found = await self._tasks.find(matching, FOUND, hint=hint).to_list(None)
        for task in found:
            if task.get("state") == IN_TRASH:  # the state decides, whatever a script has stored besides
                task.setdefault("trash", {})
            else:
                task.pop("trash", None)
        return found

    async def write(
        self,
        owner: UserRead,
        inserts: Sequence[BSON],
        updates: Sequence[Update],
        purged: Collection[ObjectId] = (),
        *,
        is_repeated: bool = False,
    ) -> BulkResult:
        """Stores new tasks of ``owner`` and updates others, in one bulk write. The unique indexes decide which is first.

        A new task with an id among ``purged`` takes the place of its tombstone.
        """
        scope = Scope.of(owner)
        mark_new(inserts)
        operations: list[InsertOne[BSON] | UpdateOne] = [
            UpdateOne({**scope.purged, "_id": task["_id"]}, replace_tombstone(task), upsert=True)
            if task["_id"] in purged
            else InsertOne(task)
            for task in inserts
        ]
        replacing = {place for place, task in enumerate(inserts) if task["_id"] in purged}
        for stored, pipeline in updates:
            unchanged = {**scope.around(stored), "_id": stored["_id"], **at_version(frozenset([version_of(stored)]))}
            operations.append(UpdateOne(unchanged, pipeline))
        if not operations:
            return BulkResult({}, 0)
        try:
            result = await self._tasks.bulk_write(operations, ordered=False)
        except BulkWriteError as error:
            faults = error.details["writeErrors"]
            invalid = [fault["index"] - len(inserts) for fault in faults if fault["code"] == FAILED_VALIDATION]
            taken = {fault["index"]: fault["keyValue"] for fault in faults if fault["code"] == DUPLICATE_KEY}
            is_other = len(invalid) + len(taken) < len(faults) or min(invalid, default=0) < 0
            if lacks_durability(error) or is_other or (invalid and is_repeated):
                raise
            outcome = error.details
        else:
            taken, outcome, invalid = {}, result.bulk_api_result, []
        replaced = len(replacing - taken.keys()) - int(outcome["nUpserted"])
        matched = int(outcome["nMatched"]) - replaced
        if invalid:  # before already, and such tasks can be changed from now on: see ``db.validation``
            matched += (await self.write(owner, [], [updates[place] for place in invalid], is_repeated=True)).matched
        return BulkResult(taken, matched)

    async def find_updated(self, owner: UserRead, ids: Iterable[ObjectId], at: datetime) -> Collection[ObjectId]:
        """Which of these tasks this request has updated ``at`` that time: a bulk write reports only how many."""
        matching = {**Scope.of(owner).anywhere, "_id": {"$in": list(ids)}, **changed_by(owner.object_id, at)}
        return {task["_id"] for task in await self._tasks.find(matching, {"_id": 1}, hint=ID_INDEX).to_list(None)}
