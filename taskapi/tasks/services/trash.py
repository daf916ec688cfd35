"""The trash, in which deleted tasks stay until they are restored or removed."""

from dataclasses import dataclass

from taskapi.accounts.users.schemas import UserRead
from taskapi.db import damaged
from taskapi.db.connection import BSON, Session
from taskapi.tasks.schemas import TaskRead, TrashedTask
from taskapi.tasks.storage.history import Versions
from taskapi.tasks.storage.pipelines import purge_pipeline, trash_pipeline
from taskapi.tasks.storage.reading import SOURCE, read, reference
from taskapi.tasks.storage.repository import TaskRepository
from taskapi.tasks.storage.trash_repository import TrashRepository
from taskapi.web.pagination import Page, PageQuery


@dataclass(frozen=True, slots=True)
class TrashService:
    """Moves tasks to the trash, which keeps them for ``days`` days, and out of it; their tombstones stay as long again."""

    tasks: TaskRepository
    trash: TrashRepository
    days: int
    milliseconds: int  # the time limit of a query

    async def move_to_trash(self, owner: UserRead, task_id: str, versions: Versions, session: Session | None = None) -> None:
        """Moves one task to the trash, if it has one of ``versions``. Raises NotFound, PreconditionFailed."""
        await self.tasks.move_to_trash(owner, task_id, versions, trash_pipeline(owner, self.days), session)

    async def list_page(self, owner: UserRead, query: PageQuery) -> Page[TrashedTask]:
        """The tasks of ``owner`` in the trash, last deleted first. Raises QueryTimeout."""
        found = await self.trash.find_page(owner, query, self.milliseconds)
        tasks = damaged.read_all(TrashedTask, [show(task, owner) for task in found.entries], SOURCE)
        return Page(tasks, found.total)

    async def restore(self, owner: UserRead, task_id: str, session: Session | None = None) -> TaskRead:
        """Takes a task out of the trash. The call can be repeated: a task whose last change was a restore stays as it is.

        Raises:
            NotFound: the trash of ``owner`` has no such task.
            KeyTaken: another task has taken its external key.
        """
        return read(await self.trash.restore(owner, task_id, session), owner)

    async def purge(self, owner: UserRead, task_id: str) -> None:
        """Deletes a task in the trash permanently. Raises NotFound."""
        await self.trash.purge(owner, task_id, purge_pipeline(self.days))

    async def purge_expired(self) -> None:
        """Deletes all expired tasks in the trash permanently, those of all owners."""
        await self.trash.purge_expired(purge_pipeline(self.days))


def show(task: BSON, owner: UserRead) -> BSON:
    """A stored task in the trash as its former ``owner`` sees it."""
    trash = trash_of(task)
    times: BSON = {name: trash[name] for name in ("deleted_at", "expires_at") if name in trash}
    return {**task, **times, "owner": reference(owner)}


def trash_of(task: BSON) -> BSON:
    """What a stored task has in ``trash``; nothing if a script has removed it, or stored another type."""
    trash = task.get("trash")
    return trash if isinstance(trash, dict) else {}
