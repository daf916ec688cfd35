"""Changes of stored tasks that arrive together, for tests."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from itertools import count, cycle
from typing import Any

from bson import ObjectId

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.logs import request_id
from taskapi.db.connection import BSON, Database
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.history import Versions
from taskapi.tasks.storage.inserter import TaskInserter
from taskapi.tasks.storage.pipelines import update
from taskapi.tasks.storage.repository import TaskRepository
from taskapi.tasks.storage.scope import Scope
from taskapi.tasks.storage.updater import TaskUpdater
from tests.stored import collection, service

NOW = datetime(2026, 1, 1)


def make_owner(name: str) -> UserRead:
    fields = {"disabled": False, "created_at": NOW, "updated_at": NOW}
    return UserRead.model_validate({"_id": ObjectId(), "username": name, **fields})


OWNERS = [make_owner(name) for name in ("ada", "bob", "eve")]


async def store(owner: UserRead, **fields: Any) -> ObjectId:
    """Stores a task of version 1 without a history, as a script would."""
    task_id = ObjectId()
    plain = {"title": "new", "description": "", "status": "todo", "completed": False, "completed_at": None, "priority": 3}
    more: BSON = {"due_date": None, "tags": [], "links": [], "checklist": [], "progress": 0.0, "metadata": {}, "version": 1}
    times = {"created_at": NOW, "updated_at": NOW, "changed_at": NOW}
    reference = {"id": owner.object_id, "username": owner.username}
    await collection(TaskDocument).insert_one(
        {"_id": task_id, **Scope.of(owner).outside_trash, **plain, **more, **times, "owner": reference, "history": [], **fields}
    )
    return task_id


def repositories(number: int = 1) -> list[TaskRepository]:
    """Those of as many workers."""
    database = service(Database)
    return [TaskRepository(database, TaskInserter(database), TaskUpdater(database)) for _ in range(number)]


async def change_together(
    repository: TaskRepository,
    *changes: tuple[ObjectId, BSON],
    versions: Versions = None,
    owners: Sequence[UserRead] = OWNERS[:1],
) -> list[Any]:
    """The outcomes of changes that arrive in one turn, each in a request of its own; by ``owners``, one after the other."""

    async def change(number: int, owner: UserRead, task_id: ObjectId, fields: BSON) -> Any:
        request_id.set(f"request-{number}")
        return await repository.update_one(owner, str(task_id), versions, update(fields, owner))

    numbered = zip(count(), cycle(owners), changes)
    return await asyncio.gather(*(change(number, owner, *each) for number, owner, each in numbered), return_exceptions=True)
