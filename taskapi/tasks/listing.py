"""Lists of tasks: one page of what a query finds, in one round trip."""

from typing import Any, NamedTuple

from bson import ObjectId
from pydantic import TypeAdapter

from taskapi.database import BSON, aggregate
from taskapi.security import Signer
from taskapi.tasks import cursor
from taskapi.tasks.documents import TaskDocument
from taskapi.tasks.projection import Projection, TaskPart
from taskapi.tasks.query import MOST_COUNTED, Count, TaskSearch
from taskapi.tasks.schemas import OwnerRead, TaskRead
from taskapi.tasks.writing import PUBLIC
from taskapi.users.schemas import UserRead

LISTED = {name: 1 for name in PUBLIC if name != "owner"}  # all are the caller's: not read twenty times
_tasks = TypeAdapter(list[TaskRead])
_parts = TypeAdapter(list[TaskPart])


class Page(NamedTuple):
    """Some tasks of a list."""

    tasks: list[Any]  # TaskRead, or TaskPart
    is_partial: bool
    versions: list[tuple[ObjectId, int]]  # of each, by its id
    total: int | None  # in the whole list, when it was wanted
    is_estimate: bool
    cursor: str | None  # of the next page, when there is one

    @property
    def is_least(self) -> bool:
        """Whether there may be more than the total says."""
        return self.is_estimate and self.total == MOST_COUNTED

    def json(self) -> bytes:
        """The tasks as a JSON array."""
        if self.is_partial:
            return _parts.dump_json(self.tasks, exclude_unset=True)
        return _tasks.dump_json(self.tasks)


async def page(owner: UserRead, query: TaskSearch, signer: Signer, milliseconds: int) -> Page:
    """The page that ``query`` asks for, in one round trip.

    Raises:
        InvalidInput: the filter is wrong, or the cursor is not one of this query.
        QueryTimeout: it took MongoDB longer than ``milliseconds``.
    """
    identity = query.identity(owner.object_id)
    after = None if query.cursor is None else cursor.read(query.cursor, identity, signer)
    projection = None if query.fields is None else Projection.of(query.fields)
    read = LISTED if projection is None else projection.stored(*query.order)
    found = await aggregate(TaskDocument, query.pipeline(owner.object_id, read, after), milliseconds)
    total = _total(found) if query.counting is not Count.none else None
    following = None
    if len(found) > query.limit:
        found.pop()
        following = cursor.written([found[-1].get(name) for name in query.order], identity, signer)
    return Page(
        _whole(found, owner) if projection is None else [projection.part(task, owner) for task in found],
        projection is not None,
        [(task["_id"], task["version"]) for task in found],
        total,
        query.counting is Count.estimate,
        following,
    )


def _total(found: list[BSON]) -> int:
    # Counting nothing gives no document, also when the last task was deleted between the page and the count.
    return int(found.pop()["total"]) if found and "total" in found[-1] else len(found)


def _whole(found: list[BSON], owner: UserRead) -> list[TaskRead]:
    theirs = OwnerRead(id=owner.id, username=owner.username)
    for task in found:
        task["owner"] = theirs
    return _tasks.validate_python(found)
