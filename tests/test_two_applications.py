"""Two applications with two databases in one process: neither sees anything of the other, and each does its own work."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from beanie import Document
from bson import ObjectId
from fastapi import FastAPI

from taskapi.accounts.users.documents import UserDocument
from taskapi.core.background import Jobs
from taskapi.core.clock import utc_now
from taskapi.db.connection import Collection, Database
from taskapi.main import DOCUMENTS, create_app
from taskapi.tasks.storage.documents import TaskDocument
from tests.accounts.users.leavers import leave
from tests.client import Account, is_problem, make_account
from tests.conftest import make_settings, running
from tests.mailbox import Mailbox
from tests.tools import PATIENCE_SECONDS

pytestmark = pytest.mark.real

EMAIL = "ada@example.com"


@dataclass(frozen=True)
class Application:
    """One of the two, and an account in it."""

    app: FastAPI
    client: httpx.AsyncClient
    ada: Account
    folder: Path  # of its mails

    def collection(self, document: type[Document]) -> Collection:
        database: Database = self.app.state.services[Database]
        return database.collection(document)

    def wake_jobs(self) -> None:
        for job in self.app.state.services[Jobs]:
            job.wake()

    async def titles(self) -> list[str]:
        return [task["title"] for task in (await self.ada.get("/tasks", params={"sort": "title", "limit": 100})).json()]


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[list[Application]]:
    """Two applications that run, each with an account of the same name."""
    async with AsyncExitStack() as stack:
        applications = []
        for name in ("one", "two"):
            settings = make_settings(mongodb_database=f"{make_settings().mongodb_database}_{name}", data_dir=tmp_path / name)
            app = create_app(settings)
            client = await stack.enter_async_context(running(app))
            database = app.state.services[Database].collection(UserDocument).database
            stack.push_async_callback(database.client.drop_database, database.name)
            ada = await make_account(client, "ada", email=EMAIL)
            applications.append(Application(app, client, ada, tmp_path / name / "mailbox"))
        yield applications


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():  # noqa: ASYNC110 - only MongoDB and the folders know
            await asyncio.sleep(0.01)


async def test_calls_in_turn_reach_their_own_database(both: list[Application]) -> None:
    one, two = both
    keyed = {"Idempotency-Key": "once"}
    for number, each in enumerate(both):
        answer = await each.ada.post("/tasks", json={"title": f"Task {number}"}, headers=keyed)
        assert (answer.status_code, "idempotent-replay" in answer.headers) == (201, False)
    for number, each in enumerate(both):
        assert await each.titles() == [f"Task {number}"]
        assert [await each.collection(document).count_documents({}) for document in (UserDocument, TaskDocument)] == [1, 1]
    for ours, others in ((one, two), (two, one)):
        is_problem(await ours.client.get("/tasks", headers=others.ada.headers), 401, "invalid_token")
        task = await others.collection(TaskDocument).find_one({})
        assert task is not None
        is_problem(await ours.ada.get(f"/tasks/{task['_id']}"), 404, "not_found")
        refused = await ours.client.post(
            "/token", data={"grant_type": "refresh_token", "refresh_token": others.ada.refresh_token}
        )
        assert refused.status_code == 400


async def test_calls_at_once_reach_their_own_database(both: list[Application]) -> None:
    calls = [each.ada.make_task(f"{number} {n:02}") for n in range(30) for number, each in enumerate(both)]
    made = await asyncio.gather(*calls)
    reads = [both[place % 2].ada.get(f"/tasks/{task['id']}") for place, task in enumerate(made)]
    assert [answer.json() for answer in await asyncio.gather(*reads)] == made
    assert await asyncio.gather(*(each.titles() for each in both)) == [
        [f"{number} {n:02}" for n in range(30)] for number in range(2)
    ]
    archives = await asyncio.gather(*(each.ada.get("/users/me/export") for each in both))
    assert [archive.status_code for archive in archives] == [200, 200]


async def test_each_sends_its_own_mails(both: list[Application]) -> None:
    async def all_sent() -> bool:
        return all(len(list(each.folder.glob("*.eml"))) == 1 for each in both)

    await until(all_sent)
    tokens = [await Mailbox(each.folder).token(EMAIL) for each in both]
    for each, token in zip(both, reversed(tokens), strict=True):  # of the other
        assert (await each.client.post("/email/verify", json={"token": token})).status_code == 400
    for each, token in zip(both, tokens, strict=True):
        assert (await each.client.post("/email/verify", json={"token": token})).status_code == 204


async def test_each_removes_its_own_accounts(both: list[Application]) -> None:
    one, two = both
    for each in both:
        await each.ada.make_task("A task")
    assert (await leave(one.ada)).status_code == 202
    due = {"leaving.due_at": utc_now() - timedelta(seconds=1)}
    await one.collection(UserDocument).update_one({}, {"$set": due})
    two.wake_jobs()
    one.wake_jobs()

    async def is_removed() -> bool:
        return await one.collection(UserDocument).count_documents({}) == 0

    await until(is_removed)
    counts = [[await each.collection(document).count_documents({}) for document in DOCUMENTS[:3]] for each in both]
    assert counts == [[0, 0, 0], [1, 1, 1]]
    assert await two.titles() == ["A task"]


async def test_each_follows_its_own_renames(both: list[Application]) -> None:
    one, two = both
    ids = [ObjectId((await each.ada.make_task("A task"))["id"]) for each in both]
    renamed = await two.ada.patch("/users/me", json={"username": "countess"})
    assert renamed.status_code == 200

    async def owners() -> list[str]:
        tasks = [await each.collection(TaskDocument).find_one({"_id": task_id}) for each, task_id in zip(both, ids, strict=True)]
        return [task["owner"]["username"] for task in tasks if task]

    async def has_followed() -> bool:
        return (await owners())[1] == "countess"

    await until(has_followed)
    one.wake_jobs()
    assert await owners() == ["ada", "countess"]
