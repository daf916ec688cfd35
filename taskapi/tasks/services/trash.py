"""The trash: where deleted tasks wait until they are restored, or gone for good.

A task in the trash has no ``owner``: what looks for the tasks of an owner cannot meet it. It keeps its former owner in
``trash``, and MongoDB removes it at ``trash.expires_at``.
"""

from datetime import datetime, timedelta

from pymongo import DESCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.clock import utc_now
from taskapi.core.errors import NotFound
from taskapi.core.fields import object_id
from taskapi.db import damaged
from taskapi.db.connection import BSON, Session, collection
from taskapi.tasks.errors import KeyTaken
from taskapi.tasks.schemas import TaskRead, TrashedTask
from taskapi.tasks.services.tasks import LookUp, settled
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.history import Action, list_or_empty, recorded
from taskapi.tasks.storage.reading import SOURCE, reference
from taskapi.tasks.storage.repository import PUBLIC, Versions, explain_no_match, one
from taskapi.web.pagination import Page, PageQuery

RESTORED_LAST: BSON = {"$expr": {"$eq": [{"$last": list_or_empty("$history.action")}, Action.restore]}}


def moving(owner: UserRead, days: int) -> list[BSON]:
    """The update pipeline that moves a task of ``owner`` to the trash, for ``days`` days."""
    now = utc_now()
    trash = {"deleted_at": now, "expires_at": now + timedelta(days=days)}
    # A computed value, which replaces whatever a script may have stored there, and an owner that can be found again.
    moved = {"trash": {"$literal": {"owner": reference(owner), **trash}}}
    return recorded([{"$set": moved}, {"$unset": "owner"}], [], Action.delete, owner, now)


async def put(owner: UserRead, task_id: str, versions: Versions, days: int, session: Session | None = None) -> None:
    """Moves one task to the trash, when it has one of ``versions``. Raises NotFound, PreconditionFailed."""
    result = await collection(TaskDocument).update_one(one(owner, task_id, versions), moving(owner, days), session=session)
    if result.matched_count == 0:
        raise await explain_no_match(owner, task_id, session)


def _theirs(owner: UserRead) -> BSON:
    # MongoDB's clean-up comes once a minute; what has expired is gone at once.
    return {"trash.owner.id": owner.object_id, "trash.expires_at": {"$gt": utc_now()}}


def _one(owner: UserRead, task_id: str) -> BSON:
    identity = object_id(task_id)
    if identity is None:
        raise NotFound("Task not found in the trash")
    return {"_id": identity, **_theirs(owner)}


async def page(owner: UserRead, query: PageQuery, milliseconds: int) -> Page[TrashedTask]:
    """The tasks of ``owner`` in the trash, last deleted first; found within ``milliseconds``."""
    order = {"trash.deleted_at": DESCENDING, "_id": DESCENDING}
    found = await query.find(collection(TaskDocument), _theirs(owner), order, {**PUBLIC, "trash": 1}, milliseconds)
    tasks = damaged.read_all(TrashedTask, [shown(task, owner) for task in found.entries], SOURCE)
    return Page(tasks, found.total)


def shown(task: BSON, owner: UserRead) -> BSON:
    """A stored task of the trash as its former ``owner`` sees it."""
    trash = task["trash"] if isinstance(task["trash"], dict) else {}  # or a list with one in it
    times = {name: trash[name] for name in ("deleted_at", "expires_at") if name in trash}
    return {**task, **times, "owner": reference(owner)}


def restore_pipeline(owner: UserRead, now: datetime, *, keeps_key: bool = True) -> list[BSON]:
    """The update pipeline that takes a task of ``owner`` out of the trash; with ``keeps_key=False`` without its key."""
    gone = ["trash"] if keeps_key else ["trash", "key"]
    stages: list[BSON] = [{"$set": {"owner": {"$literal": reference(owner)}}}, {"$unset": gone}]
    return recorded(stages, [] if keeps_key else ["key"], Action.restore, owner, now)


async def restore(owner: UserRead, task_id: str, look_up: LookUp) -> TaskRead:
    """Takes a task out of the trash. One that was the last thing to happen to it stays as it is: the call can be repeated.

    Raises:
        NotFound: the trash of ``owner`` has no such task.
        KeyTaken: another task has got its external key meanwhile.
    """
    pipeline = restore_pipeline(owner, utc_now())
    try:
        restored = await collection(TaskDocument).find_one_and_update(
            _one(owner, task_id), pipeline, PUBLIC, return_document=ReturnDocument.AFTER
        )
    except DuplicateKeyError:
        raise KeyTaken from None
    if restored is None:
        restored = await collection(TaskDocument).find_one({**one(owner, task_id), **RESTORED_LAST}, PUBLIC)
    if restored is None:
        raise NotFound("Task not found in the trash")
    return await settled(owner, restored, look_up)


async def remove(owner: UserRead, task_id: str) -> None:
    """Removes a task of the trash for good. Raises NotFound."""
    result = await collection(TaskDocument).delete_one(_one(owner, task_id))
    if result.deleted_count == 0:
        raise NotFound("Task not found in the trash")
