"""Those who write tasks while others read what has changed: much at a time, and in transactions that commit late."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from taskapi.accounts.users.schemas import UserRead
from taskapi.db.connection import Session
from taskapi.tasks.schemas import TaskCreate, TaskUpdate
from taskapi.tasks.services.tasks import TaskService, new_task
from taskapi.tasks.services.trash import TrashService
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, stored_user
from tests.stored import collection, service

Write = Callable[[UserRead, str, Session], Awaitable[Any]]


async def write_much(account: Account, until: asyncio.Event) -> float:
    """Writes in every way until told to end. Returns how long the longest write took, in seconds."""
    longest = 0.0
    task = await account.make_task()
    for number in itertools.count():
        if until.is_set():
            return longest
        path, began = f"/tasks/{task['id']}", time.monotonic()
        operations = [{"op": "create", "task": {"title": "In bulk"}}, {"op": "delete", "id": task["id"]}]
        if number % 5 == 0:
            await account.post("/tasks/bulk?atomic=true", json={"operations": operations})
        elif number % 5 == 1:
            await account.post(f"{path}/restore")
        elif number % 5 == 2:
            task = await account.make_task(f"Task {number}")
        else:
            await account.patch(path, json={"priority": 1 + number % 5, "status": "in_progress"})
        longest = max(longest, time.monotonic() - began)
    return longest


async def create(owner: UserRead, _: str, session: Session) -> None:
    tasks = service(TaskService).tasks
    await tasks.insert_many([new_task(owner, TaskCreate(title="Late"))], session)


async def change(owner: UserRead, task_id: str, session: Session) -> None:
    await service(TaskService).update(owner, task_id, TaskUpdate(title="Late"), None, session)


async def delete(owner: UserRead, task_id: str, session: Session) -> None:
    await service(TrashService).move_to_trash(owner, task_id, None, session)


LATE_WRITES: list[Write] = [create, change, delete]


@asynccontextmanager
async def written_late(account: Account, write: Write) -> AsyncIterator[Session]:
    """A write to a task of ``account`` before the block, in a transaction that commits after it."""
    owner, task = UserRead.model_validate(await stored_user(account.id)), await account.make_task("Old")
    async with await collection(TaskDocument).database.client.start_session() as session:
        session.start_transaction()
        await write(owner, task["id"], session)
        yield session
        await session.commit_transaction()
