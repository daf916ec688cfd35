"""Reads and changes many tasks: lists, exports, and changes of all tasks that match a filter."""

from collections.abc import AsyncGenerator, Callable, Sequence

from bson import ObjectId
from pymongo.collation import Collation
from pymongo.errors import WriteError

from taskapi.db.batches import delete_all
from taskapi.db.codes import FAILED_VALIDATION
from taskapi.db.connection import BSON, Database, Session, undecoded
from taskapi.db.queries import aggregate
from taskapi.db.raw import Raw, raw
from taskapi.db.snapshots import Stages, batches_in_first_order, stream_batches
from taskapi.tasks.errors import TooManyMatches
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.history import changed_by
from taskapi.tasks.storage.indexes import ALL_OF_OWNER
from taskapi.tasks.storage.reading import PUBLIC
from taskapi.tasks.storage.scope import Scope

UPDATE_BATCH = 500  # tasks per write: on a slow machine, MongoDB takes a second for them, and a write may take five
FEW = 20_000  # tasks of one owner that can be read in well under 0.1 seconds
EXPORT_BATCH = 100  # tasks that are read at once; an export takes the memory of one batch


class TaskListRepository:
    """Reads and changes many tasks. The filters and pipelines come from ``query``, which starts each with a ``Scope``."""

    def __init__(self, database: Database) -> None:
        self._tasks = database.collection(TaskDocument)
        self._undecoded = undecoded(self._tasks)

    async def aggregate(
        self, pipeline: Sequence[BSON], milliseconds: int, collation: Collation | None = None, hint: str | None = None
    ) -> list[Raw]:
        """All results of a pipeline, as MongoDB sends them; see ``db.queries.aggregate``."""
        results = await aggregate(self._undecoded, pipeline, milliseconds, collation=collation, hint=hint)
        return list(map(raw, results))

    async def has_few(self, scope: Scope, milliseconds: int) -> bool:
        """Whether there are so few tasks that reading all of them is cheap; counted in an index, and no further than that."""
        pipeline: list[BSON] = [{"$match": scope.outside_trash}, {"$limit": FEW + 1}, {"$count": "total"}]
        found = await aggregate(self._tasks, pipeline, milliseconds, hint=ALL_OF_OWNER)
        return not found or bool(found[0]["total"] <= FEW)

    async def find_ids(
        self, matching: BSON, limit: int, milliseconds: int, session: Session | None = None, hint: str | None = None
    ) -> list[ObjectId]:
        """The ids of all tasks that match. Raises TooManyMatches if there are more than ``limit``."""
        pipeline: list[BSON] = [{"$match": matching}, {"$limit": limit + 1}, {"$project": {"_id": 1}}]
        found = await aggregate(self._tasks, pipeline, milliseconds, session, hint=hint)
        if len(found) > limit:
            raise TooManyMatches(limit)
        return [task["_id"] for task in found]

    async def update_matching(
        self, matching: BSON, ids: Sequence[ObjectId], pipeline: list[BSON], added: BSON, session: Session | None = None
    ) -> int:
        """Applies an update pipeline, which has ``added`` to the history, to the tasks of ``ids`` that still match.

        Returns how many were changed.
        """
        changed = 0
        for narrowed in _in_batches(matching, ids):
            try:
                changed += (await self._tasks.update_many(narrowed, pipeline, session=session)).modified_count
            except WriteError as error:
                if error.code != FAILED_VALIDATION or session is not None:
                    raise
                # It ended at an invalid task, which can be changed from now on: see ``db.validation``.
                done = changed_by(added["by"]["id"], added["at"])
                changed += await self._tasks.count_documents({"_id": narrowed["_id"], "owner_id": narrowed["owner_id"], **done})
                changed += (await self._tasks.update_many({**narrowed, "$nor": [done]}, pipeline)).modified_count
        return changed

    async def find_among(
        self, matching: BSON, ids: Sequence[ObjectId], session: Session | None = None
    ) -> AsyncGenerator[BSON, None]:
        """Yields the tasks of ``ids`` that match, with their public fields."""
        for narrowed in _in_batches(matching, ids):
            async for task in self._tasks.find(narrowed, PUBLIC, session=session):
                yield task

    def stream(self, stages: Stages, collation: Collation | None = None) -> AsyncGenerator[list[BSON], None]:
        """All results of a pipeline in batches; see ``db.snapshots.stream_batches``."""
        return stream_batches(self._tasks, stages, EXPORT_BATCH, collation)

    def stream_in_first_order(
        self,
        ids: Sequence[BSON],
        pipeline: Sequence[BSON],
        by_id: Callable[[list[ObjectId]], Sequence[BSON]],
        collation: Collation | None = None,
    ) -> AsyncGenerator[list[BSON], None]:
        """All results of a pipeline in batches, when writes can change its order: see ``db.snapshots.batches_in_first_order``."""
        return batches_in_first_order(self._tasks, ids, pipeline, by_id, EXPORT_BATCH, collation)

    async def delete_for_user(self, user_id: ObjectId) -> None:
        """Deletes all tasks of an account, including the trash."""
        await delete_all(self._tasks, Scope.owned_by(user_id).anywhere)


def _in_batches(matching: BSON, ids: Sequence[ObjectId]) -> list[BSON]:
    batches = [list(ids[start : start + UPDATE_BATCH]) for start in range(0, len(ids), UPDATE_BATCH)]
    return [{**matching, "_id": {"$in": batch}} for batch in batches]
