"""Exports and deletes the tasks of an account with the account."""

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from bson import ObjectId
from pymongo import ASCENDING

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.fields import Id
from taskapi.db import damaged
from taskapi.db.connection import BSON
from taskapi.db.snapshots import Stages
from taskapi.tasks.query.places import place
from taskapi.tasks.query.sort import Order
from taskapi.tasks.query.stages import ordered_stages
from taskapi.tasks.schemas import TrashedTask
from taskapi.tasks.services import versions
from taskapi.tasks.services.adoption import TaskAdoption
from taskapi.tasks.services.trash import show, trash_of
from taskapi.tasks.services.versions import HistoryEntry
from taskapi.tasks.storage.list_repository import TaskListRepository
from taskapi.tasks.storage.reading import PUBLIC, SOURCE, read
from taskapi.tasks.storage.scope import Scope
from taskapi.web.streaming import rendered

OLDEST: Order = {"created_at": ASCENDING, "_id": ASCENDING}
DELETED_AT = "trash.deleted_at"
DELETED_FIRST: Order = {DELETED_AT: ASCENDING, "_id": ASCENDING}
WITH_ALL = {**PUBLIC, "trash": 1, "history": 1}


class TaskHistoryEntry(HistoryEntry):
    """A history entry with the id of its task."""

    task: Id


@dataclass(frozen=True, slots=True)
class TaskAccountData:
    """Exports and deletes the tasks of an account."""

    tasks: TaskListRepository
    adoption: TaskAdoption

    def export_tasks(self, user: UserRead) -> AsyncGenerator[str, None]:
        """Yields the tasks of ``user`` outside the trash, each as JSON that an import accepts."""
        return self._lines(
            partial(all_present, Scope.owned_by(user.object_id)), lambda task: [read(task, user).model_dump_json()]
        )

    def export_trash(self, user: UserRead) -> AsyncGenerator[str, None]:
        """Yields the tasks of ``user`` in the trash, each as JSON."""

        def line(task: BSON) -> list[str]:
            return [damaged.read(TrashedTask, show(task, user), SOURCE).model_dump_json()]

        return self._lines(partial(all_in_trash, Scope.owned_by(user.object_id)), line)

    async def export_history(self, user: UserRead) -> AsyncGenerator[str, None]:
        """Yields the history entries of all tasks of ``user``, including the trash, each as JSON."""

        def lines(task: BSON) -> Iterator[str]:
            for entry in versions.entries(task, user):
                yield TaskHistoryEntry(**dict(entry), task=str(task["_id"])).model_dump_json()

        for pipeline in (all_present, all_in_trash):
            async with aclosing(self._lines(partial(pipeline, Scope.owned_by(user.object_id)), lines)) as found:
                async for line in found:
                    yield line

    async def delete_for_user(self, user_id: ObjectId) -> None:
        """Deletes all tasks of an account, including the trash."""
        await self.adoption.adopt_all()
        await self.tasks.delete_for_user(user_id)

    def _lines(self, stages: Stages, render: Callable[[BSON], Iterable[str]]) -> AsyncGenerator[str, None]:
        return rendered(self.tasks.stream(stages), render)


def all_present(scope: Scope, last: BSON | None = None) -> list[BSON]:
    """The pipeline of all tasks of ``scope`` outside the trash, or of those after ``last``.

    It reads in the order of an index, and no documents of other owners.
    """
    return ordered_stages(scope.outside_trash, OLDEST, WITH_ALL, None if last is None else place(OLDEST, last))


def all_in_trash(scope: Scope, last: BSON | None = None) -> list[BSON]:
    """The pipeline of all tasks of ``scope`` in the trash, or of those after ``last``."""
    after = None
    if last is not None:
        after = place(DELETED_FIRST, {**last, DELETED_AT: trash_of(last).get("deleted_at")})
    return ordered_stages(scope.in_trash, DELETED_FIRST, WITH_ALL, after)
