"""What becomes of the tasks of somebody who leaves."""

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing

from bson import ObjectId
from pymongo import ASCENDING

from taskapi import damaged
from taskapi.batches import delete_all
from taskapi.database import BSON
from taskapi.fields import Id
from taskapi.snapshots import batches
from taskapi.streaming import rendered
from taskapi.tasks import past, trash
from taskapi.tasks.documents import TaskDocument
from taskapi.tasks.export import BATCH
from taskapi.tasks.past import HistoryEntry
from taskapi.tasks.reading import SOURCE, read
from taskapi.tasks.schemas import TrashedTask
from taskapi.tasks.writing import PUBLIC
from taskapi.users.schemas import UserRead

OLDEST: BSON = {"created_at": ASCENDING, "_id": ASCENDING}
DELETED_FIRST: BSON = {"trash.deleted_at": ASCENDING, "_id": ASCENDING}
WITH_ALL = {**PUBLIC, "trash": 1, "history": 1}


class TaskHistoryEntry(HistoryEntry):
    """One write of one of many tasks."""

    task: Id


def exported(user: UserRead) -> AsyncGenerator[str, None]:
    """The tasks of ``user`` that are not in the trash, each as JSON that an import takes."""
    return _lines(all_present(user.object_id), lambda task: [read(task, user).model_dump_json()])


def exported_trash(user: UserRead) -> AsyncGenerator[str, None]:
    """The tasks of ``user`` in the trash, each as JSON."""

    def line(task: BSON) -> list[str]:
        return [damaged.read(TrashedTask, trash.shown(task, user), SOURCE).model_dump_json()]

    return _lines(all_in_trash(user.object_id), line)


async def exported_history(user: UserRead) -> AsyncGenerator[str, None]:
    """The writes of all tasks of ``user``, those in the trash too, each as JSON."""

    def lines(task: BSON) -> Iterator[str]:
        for entry in past.entries(task, user):
            yield TaskHistoryEntry(**dict(entry), task=str(task["_id"])).model_dump_json()

    for pipeline in (all_present(user.object_id), all_in_trash(user.object_id)):
        async with aclosing(_lines(pipeline, lines)) as found:
            async for line in found:
                yield line


async def forget(user: ObjectId) -> None:
    """Deletes all tasks of ``user``, those in the trash too."""
    for theirs in _theirs(user):
        await delete_all(TaskDocument, theirs)


def _theirs(user: ObjectId) -> list[BSON]:
    return [{"owner.id": user}, {"trash.owner.id": user}]


def all_present(user: ObjectId) -> list[BSON]:
    """The pipeline of all tasks of ``user`` but for the trash, in the order of an index: no document of others is read."""
    return [{"$match": {"owner.id": user}}, {"$sort": OLDEST}, {"$project": WITH_ALL}]


def all_in_trash(user: ObjectId) -> list[BSON]:
    """The same for those in the trash."""
    return [{"$match": {"trash.owner.id": user}}, {"$sort": DELETED_FIRST}, {"$project": WITH_ALL}]


def _lines(pipeline: list[BSON], render: Callable[[BSON], Iterable[str]]) -> AsyncGenerator[str, None]:
    return rendered(batches(TaskDocument, pipeline, BATCH), render)
