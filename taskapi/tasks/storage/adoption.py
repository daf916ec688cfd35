"""Gives tasks that version 1.4 and before wrote their ``owner_id`` and ``state``.

Version 1.4 knows the owner as ``owner`` outside the trash and as ``trash.owner`` in it, and stores neither field. A migration
adopts all its tasks. While its workers may still run beside new ones, a background job adopts what they write meanwhile; two
indexes, nearly always empty, show which tasks they have moved into the trash or out of it.
"""

from typing import Any, Final

import pymongo
from pymongo import ASCENDING
from pymongo.errors import OperationFailure

from taskapi.db.connection import BSON, INDEX_BUILD_SECONDS, Database
from taskapi.db.indexes import Index
from taskapi.db.migrations.backfill import Backfill, name_refused
from taskapi.db.migrations.step import Progress
from taskapi.db.queries import lacks_index
from taskapi.tasks.storage.backfill import mark_from_history
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.indexes import ALL_OF_OWNER, FORMER_INDEXES, MOVED_INTO_TRASH, MOVED_OUT_OF_TRASH
from taskapi.tasks.storage.scope import ACTIVE, IN_TRASH

BATCH = 500  # tasks that the background job adopts at once
WATCHING: Final = (
    Index(
        [("trash.deleted_at", ASCENDING)],
        name=MOVED_INTO_TRASH,
        serves="tasks that version 1.4 has moved into the trash",
        partialFilterExpression={"state": ACTIVE, "trash.deleted_at": {"$exists": True}},
    ),
    Index(
        [("owner.id", ASCENDING)],
        name=MOVED_OUT_OF_TRASH,
        serves="tasks that version 1.4 has taken out of the trash",
        partialFilterExpression={"state": IN_TRASH, "owner.id": {"$exists": True}},
    ),
)

IS_OUTSIDE: Final[BSON] = {"owner.id": {"$type": "objectId"}}
IS_IN_TRASH: Final[BSON] = {"trash.owner.id": {"$type": "objectId"}}


def _first_id(path: str) -> BSON:
    """The expression of the objectId at ``path``, or of the first one there: a script may have stored a list of owners."""
    several = {"$cond": [{"$isArray": path}, path, [path]]}
    return {"$first": {"$filter": {"input": several, "cond": {"$eq": [{"$type": "$$this"}, "objectId"]}}}}


IS_MISSING: Final = {"$eq": [{"$type": "$owner_id"}, "missing"]}
OWNER: Final = {"$ifNull": [_first_id("$owner.id"), _first_id("$trash.owner.id")]}
IS_OWNED: Final = {"$eq": [{"$type": OWNER}, "objectId"]}
HAS_OWNER: Final = {"$eq": [{"$type": _first_id("$owner.id")}, "objectId"]}

# A path finds an owner in a list of lists, the expression does not: such a task would be written again and again.
UNADOPTED: Final[BSON] = {"owner_id": {"$exists": False}, "$or": [IS_OUTSIDE, IS_IN_TRASH], "$expr": IS_OWNED}
INTO_TRASH: Final[BSON] = {"state": ACTIVE, "trash.deleted_at": {"$exists": True}, "owner.id": {"$exists": False}, **IS_IN_TRASH}
STATELESS: Final[BSON] = {**UNADOPTED, "owner_id": {"$exists": True}, "state": None}  # a script has removed its state
OUT_OF_TRASH: Final[BSON] = {"state": IN_TRASH, **IS_OUTSIDE}  # an index of text refuses lists there

ADOPT: Final[list[BSON]] = [
    {
        "$set": {
            "owner_id": {"$cond": [IS_MISSING, OWNER, "$owner_id"]},  # it never changes
            "state": {"$cond": [HAS_OWNER, ACTIVE, IN_TRASH]},  # with an owner it is in no trash, whatever a script has stored
        }
    }
]
ADOPT_AND_MARK: Final = [*ADOPT, *mark_from_history()]  # so that scripts learn of it


KINDS: Final = (
    # In this order: a task that has left for the trash frees its key for those that are new or come back.
    (Backfill(TaskDocument, INTO_TRASH, ADOPT_AND_MARK), MOVED_INTO_TRASH),
    (Backfill(TaskDocument, UNADOPTED, ADOPT_AND_MARK), ALL_OF_OWNER),
    (Backfill(TaskDocument, OUT_OF_TRASH, ADOPT_AND_MARK), MOVED_OUT_OF_TRASH),
)
"""The kinds of tasks to adopt, and the index that finds each."""
ALL_KINDS: Final = (*(kind for kind, _ in KINDS), Backfill(TaskDocument, STATELESS, ADOPT_AND_MARK))
"""Those of a migration: no index finds the last one, and no version writes it."""

count_unadopted = Backfill(TaskDocument, {"$or": [kind.matching for kind in ALL_KINDS]}, ADOPT_AND_MARK).count_left


async def adopt_everything(database: Database, progress: Progress) -> None:
    """Adopts the tasks of version 1.4, and watches what its workers write from now on."""
    tasks = database.collection(TaskDocument)
    if not FORMER_INDEXES.isdisjoint(await tasks.index_information()):
        with pymongo.timeout(INDEX_BUILD_SECONDS):
            await tasks.create_indexes(list(WATCHING))
    of_all_kinds = await count_unadopted(database)

    async def progress_of_kind(total: int, changed: int = 0, skipped: int = 0) -> None:
        await progress(max(total, of_all_kinds), changed, skipped)

    for kind in ALL_KINDS:
        await kind.run(database, progress_of_kind)


class AdoptionRepository:
    """Adopts what workers of version 1.4 write, for as long as some may run."""

    def __init__(self, database: Database) -> None:
        self._tasks = database.collection(TaskDocument)
        self._refused: frozenset[Any] = frozenset()  # by the last call, so that the log names each once

    async def is_needed(self) -> bool:
        """Whether workers of version 1.4 may run: the contract phase of the migrations is still to come."""
        return {MOVED_INTO_TRASH, MOVED_OUT_OF_TRASH} <= (await self._tasks.index_information()).keys()

    async def adopt(self) -> bool:
        """Adopts the tasks that need it, at most 500 of each kind, and returns whether there may be more."""
        may_be_more, refused = False, list[Any]()
        for kind, index in KINDS:
            changed, of_kind = await self._adopt(kind, index)
            may_be_more |= changed > 0 and changed + len(of_kind) == BATCH
            refused += of_kind
        name_refused(self._tasks, [each for each in refused if each not in self._refused])
        self._refused = frozenset(refused)
        return may_be_more

    async def _adopt(self, kind: Backfill, index: str) -> tuple[int, list[Any]]:
        try:
            found = await self._tasks.find(kind.matching, {"_id": 1}, hint=index, limit=BATCH).to_list(BATCH)
        except OperationFailure as error:
            if not lacks_index(error):
                raise
            return 0, []  # the contract phase has just dropped it
        return await kind.write(self._tasks, [task["_id"] for task in found]) if found else (0, [])
