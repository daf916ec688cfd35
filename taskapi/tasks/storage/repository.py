"""Atomic writes of one task. The owner is in every filter: a foreign task is a missing task."""

from collections.abc import Awaitable, Callable, Mapping

from pymongo import ReturnDocument

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.errors import NotFound, PreconditionFailed
from taskapi.core.fields import object_id
from taskapi.db.connection import BSON, Session, collection
from taskapi.tasks.errors import Contended
from taskapi.tasks.schemas import TaskRead
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.history import at_version
from taskapi.tasks.storage.reading import read, version_of

Versions = frozenset[int] | None  # those a change may meet; None for any

PUBLIC: Mapping[str, int] = {str(field.validation_alias or name): 1 for name, field in TaskRead.model_fields.items()}
MAX_ATTEMPTS = 100


def one(owner: UserRead, task_id: str, versions: Versions = None) -> BSON:
    """The filter of one task of ``owner`` at one of ``versions``. Raises NotFound for what is not an id at all."""
    identity = object_id(task_id)
    if identity is None:
        raise NotFound("Task not found")
    condition = {} if versions is None else at_version(versions)
    return {"_id": identity, "owner.id": owner.object_id, **condition}


async def find(owner: UserRead, task_id: str, projection: Mapping[str, int] = PUBLIC, session: Session | None = None) -> BSON:
    """The stored task as it is when it is asked for. Raises NotFound."""
    stored = await collection(TaskDocument).find_one(one(owner, task_id), projection, session=session)
    if stored is None:
        raise NotFound("Task not found")
    return stored


async def explain_no_match(owner: UserRead, task_id: str, session: Session | None = None) -> NotFound | PreconditionFailed:
    """Why a write of a task that was to have certain versions met none."""
    found = await collection(TaskDocument).find_one(one(owner, task_id), {"version": 1}, session=session)
    return PreconditionFailed(version_of(found)) if found else NotFound("Task not found")


async def write(
    owner: UserRead,
    task_id: str,
    versions: Versions,
    pipeline: list[BSON],
    conditions: list[BSON],
    session: Session | None = None,
) -> TaskRead | None:
    """Applies an update pipeline in one atomic write; None when there is no such task, or it does not meet ``conditions``.

    Raises NotFound for what is not an id at all.
    """
    filter_ = one(owner, task_id, versions)
    changed = await collection(TaskDocument).find_one_and_update(
        {**filter_, "$and": conditions} if conditions else filter_,
        pipeline,
        PUBLIC,
        return_document=ReturnDocument.AFTER,
        session=session,
    )
    return None if changed is None else read(changed, owner)


async def revise(
    owner: UserRead,
    task_id: str,
    versions: Versions,
    work: Callable[[BSON], Awaitable[list[BSON] | None]],
    projection: Mapping[str, int] = PUBLIC,
    session: Session | None = None,
) -> TaskRead:
    """Applies the update pipeline that ``work`` makes of the stored task, to the very version it was made of.

    When the task changed in between, ``work`` is asked again; when it gives None, nothing is written.

    Raises:
        NotFound: there is no such task of ``owner``.
        PreconditionFailed: it has none of ``versions``.
        Whatever ``work`` raises.
        Contended: others were faster, a hundred times.
    """
    for _ in range(MAX_ATTEMPTS):
        stored = await find(owner, task_id, projection, session)
        version = version_of(stored)
        if versions is not None and version not in versions:
            raise PreconditionFailed(version)
        pipeline = await work(stored)
        if pipeline is None:
            return read(stored, owner)
        made_of = one(owner, task_id, frozenset([version]))
        changed = await collection(TaskDocument).find_one_and_update(
            made_of, pipeline, PUBLIC, return_document=ReturnDocument.AFTER, session=session
        )
        if changed is not None:
            return read(changed, owner)
    raise Contended
