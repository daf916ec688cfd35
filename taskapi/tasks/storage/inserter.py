"""Stores new tasks. Those that arrive together are written at once, and each caller gets the outcome of their own."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from bson.errors import BSONError
from pymongo.errors import BulkWriteError, PyMongoError

from taskapi.core.data_loader import DataLoader
from taskapi.db.connection import BSON, Database
from taskapi.db.errors import lacks_durability, to_write_error
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.marks import mark_new

MAX_INSERTED = 32  # tasks per write
WRITES = 2  # at the same time: while one waits for the journal, the next is on its way


@dataclass(frozen=True, slots=True, eq=False)
class _New:
    task: BSON


class TaskInserter:
    """Stores new tasks for one application, each as durably as a write of its own."""

    def __init__(self, database: Database) -> None:
        self._tasks = database.collection(TaskDocument)
        self._failures = DataLoader(self._insert, WRITES, MAX_INSERTED)

    async def insert(self, task: BSON) -> None:
        """Stores a task. Raises what the driver would raise for a write of its own, such as DuplicateKeyError."""
        if failure := await self._failures.get(_New(task)):
            raise failure

    async def _insert(self, new: Collection[_New]) -> Mapping[_New, Exception]:
        if len(new) == 1:
            return await self._insert_alone(new)
        tasks = list(new)
        mark_new(each.task for each in tasks)
        try:
            await self._tasks.insert_many([each.task for each in tasks], ordered=False)
        except BulkWriteError as error:
            if lacks_durability(error):  # the task that a duplicate id has met may be lost as well
                return dict.fromkeys(tasks, error)
            return {tasks[each["index"]]: to_write_error(each) for each in error.details["writeErrors"]}
        except (BSONError, OverflowError):  # a task cannot be encoded, and the error does not say which
            return await self._insert_alone(new)
        return {}

    async def _insert_alone(self, new: Collection[_New]) -> dict[_New, Exception]:
        failures: dict[_New, Exception] = {}
        for each in new:
            mark_new([each.task])
            try:
                await self._tasks.insert_one(each.task)
            except (PyMongoError, BSONError, OverflowError) as error:
                failures[each] = error
        return failures
