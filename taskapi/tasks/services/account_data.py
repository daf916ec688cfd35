"""What becomes of the tasks of somebody who leaves."""

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from functools import partial

from bson import ObjectId
from pymongo import ASCENDING

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.fields import Id
from taskapi.db import damaged
from taskapi.db.batches import delete_all
from taskapi.db.connection import BSON, collection
from taskapi.db.snapshots import Stages, stream_batches
from taskapi.tasks.query import stages as pages
from taskapi.tasks.query.places import place
from taskapi.tasks.query.sort import Order
from taskapi.tasks.schemas import TrashedTask
from taskapi.tasks.services import trash, versions
from taskapi.tasks.services.versions import HistoryEntry
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.reading import EXPORT_BATCH, SOURCE, read
from taskapi.tasks.storage.repository import PUBLIC
from taskapi.web.streaming import rendered

OLDEST: Order = {"created_at": ASCENDING, "_id": ASCENDING}
DELETED_AT = "trash.deleted_at"
DELETED_FIRST: Order = {DELETED_AT: ASCENDING, "_id": ASCENDING}
WITH_ALL = {**PUBLIC, "trash": 1, "history": 1}


class TaskHistoryEntry(HistoryEntry):
    """One write of one of many tasks."""

    task: Id


def export_tasks(user: UserRead) -> AsyncGenerator[str, None]:
    """The tasks of ``user`` that are not in the trash, each as JSON that an import takes."""
    return _lines(partial(all_present, user.object_id), lambda task: [read(task, user).model_dump_json()])


def export_trash(user: UserRead) -> AsyncGenerator[str, None]:
    """The tasks of ``user`` in the trash, each as JSON."""

    def line(task: BSON) -> list[str]:
        return [damaged.read(TrashedTask, trash.shown(task, user), SOURCE).model_dump_json()]

    return _lines(partial(all_in_trash, user.object_id), line)


async def export_history(user: UserRead) -> AsyncGenerator[str, None]:
    """The writes of all tasks of ``user``, those in the trash too, each as JSON."""

    def lines(task: BSON) -> Iterator[str]:
        for entry in versions.entries(task, user):
            yield TaskHistoryEntry(**dict(entry), task=str(task["_id"])).model_dump_json()

    for stages in (all_present, all_in_trash):
        async with aclosing(_lines(partial(stages, user.object_id), lines)) as found:
            async for line in found:
                yield line


async def delete_for_user(user: ObjectId) -> None:
    """Deletes all tasks of ``user``, those in the trash too."""
    for theirs in _theirs(user):
        await delete_all(collection(TaskDocument), theirs)


def _theirs(user: ObjectId) -> list[BSON]:
    return [{"owner.id": user}, {"trash.owner.id": user}]


def all_present(user: ObjectId, last: BSON | None = None) -> list[BSON]:
    """The pipeline of all tasks of ``user`` but for the trash, or of those that follow ``last``.

    It reads in the order of an index: no document of others is read.
    """
    return pages.stages({"owner.id": user}, OLDEST, WITH_ALL, None if last is None else place(OLDEST, last))


def all_in_trash(user: ObjectId, last: BSON | None = None) -> list[BSON]:
    """The same for those in the trash."""
    after = None
    if last is not None:
        kept = last["trash"] if isinstance(last["trash"], dict) else {}
        after = place(DELETED_FIRST, {**last, DELETED_AT: kept.get("deleted_at")})
    return pages.stages({"trash.owner.id": user}, DELETED_FIRST, WITH_ALL, after)


def _lines(stages: Stages, render: Callable[[BSON], Iterable[str]]) -> AsyncGenerator[str, None]:
    return rendered(stream_batches(collection(TaskDocument), stages, EXPORT_BATCH), render)
