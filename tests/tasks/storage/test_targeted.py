"""Every operation of the API names the owner in each filter on tasks, and no write changes the owner of a task.

MongoDB can then send each operation to the shard of that owner, and no forgotten condition can reach the tasks of others.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from typing import Any

import httpx
import pytest
from bson import ObjectId
from fastapi import FastAPI
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.monitoring import CommandListener

from taskapi.accounts.users.renaming import RenamingJob
from taskapi.core.settings import Settings
from taskapi.db.connection import Client, make_client
from taskapi.main import create_app
from taskapi.wiring import account_erasers
from tests.client import Account, make_account
from tests.conftest import make_settings, running
from tests.isolation import ENDLESS, World, operations

pytestmark = pytest.mark.real

TASKS = "tasks"
ABOUT_NO_DOCUMENT = {"createIndexes", "listIndexes", "getMore", "killCursors", "explain"}
OF_JOBS = ({"state", "trash.expires_at"},)  # the purge of what has expired in the trash, of all owners
OF_THE_TIME = {"_id": None}  # finds nothing: its answer says when it was, for which all shards are asked
OF_NO_TASK = ("{session_id}", "{token_id}", "{user_id}")  # in the path of an operation that is about accounts alone
SENT_LAST = {"delete_me", "sign_out", "sign_out_everywhere"}


class Watch(CommandListener):
    """Notes the commands on tasks."""

    def __init__(self) -> None:
        self.commands: list[Mapping[str, Any]] = []

    def started(self, event: Any) -> None:
        if event.command.get(event.command_name) == TASKS or event.command.get("collection") == TASKS:
            self.commands.append(event.command)

    def succeeded(self, event: Any) -> None:
        """Is of no interest."""

    def failed(self, event: Any) -> None:
        """Is of no interest."""


def filters(command: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """All filters of a command on tasks. Fails if it is of an unknown kind."""
    kind = next(iter(command))
    if kind == "find":
        yield command["filter"]
    elif kind == "findAndModify":
        yield command["query"]
    elif kind == "update":
        yield from (each["q"] for each in command["updates"])
    elif kind == "delete":
        yield from (each["q"] for each in command["deletes"])
    elif kind == "aggregate" and "$changeStream" in command["pipeline"][0]:
        return  # of all owners: each shard tells its changes
    elif kind == "aggregate":
        yield from of_pipeline(command["pipeline"])
    elif kind == "insert":
        yield from command["documents"]
    else:
        assert kind in ABOUT_NO_DOCUMENT, kind


def of_pipeline(stages: list[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The filters of a pipeline and of those within it; each must begin with one."""
    yield stages[0]["$match"]
    for stage in stages:
        assert not stage.keys() & {"$lookup", "$graphLookup", "$merge", "$out"}
        if "$unionWith" in stage:
            assert stage["$unionWith"]["coll"] == TASKS
            yield from of_pipeline(stage["$unionWith"]["pipeline"])


def is_targeted(condition: Mapping[str, Any]) -> bool:
    """Whether the condition holds for tasks of one owner only, or of each of a few named owners."""
    owner = condition.get("owner_id")
    if isinstance(owner, Mapping):
        return owner.keys() == {"$in"} and all(isinstance(each, ObjectId) for each in owner["$in"])
    if "$or" in condition and owner is None:
        return all(map(is_targeted, condition["$or"]))
    return isinstance(owner, ObjectId)


def is_of_all(condition: Mapping[str, Any]) -> bool:
    return condition == OF_THE_TIME or condition.keys() - {"_id"} in OF_JOBS


def changes(command: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Any]]:
    """The updates of a command, each with its filter."""
    if next(iter(command)) == "update":
        yield from ((each["q"], each["u"]) for each in command["updates"])
    elif "update" in command:
        yield command["query"], command["update"]


def keeps_owner(matching: Mapping[str, Any], update: Any) -> bool:
    """Whether an update leaves the owner of the tasks that match as it is."""
    for stage in update if isinstance(update, list) else [update]:
        ((operator, fields),) = stage.items()
        if operator == "$replaceWith":
            whole = fields if "owner_id" in fields else fields["$mergeObjects"][0]["$literal"]
            if whole["owner_id"] not in ("$owner_id", matching.get("owner_id")):
                return False
        elif operator not in {"$set", "$unset"} or "owner_id" in ([fields] if isinstance(fields, str) else fields):
            return False
    return True


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
async def watched(anonymous: httpx.AsyncClient, watch: Watch) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    """Another application on the same database, whose commands are watched once it has started."""

    def connect(settings: Settings) -> Client:
        return make_client(AsyncIOMotorClient, settings, {"event_listeners": [watch]})

    app = create_app(make_settings(), connect)
    async with running(app) as client:
        watch.commands.clear()
        yield app, client


def check(watch: Watch) -> set[str]:
    """Checks all commands, and returns their kinds."""
    for command in watch.commands:
        assert [each for each in filters(command) if not is_targeted(each) and not is_of_all(each)] == [], command
        assert all(keeps_owner(matching, update) for matching, update in changes(command)), command
    return {next(iter(command)) for command in watch.commands}


async def test_every_route_names_the_owner(watched: tuple[FastAPI, httpx.AsyncClient], watch: Watch) -> None:
    app, client = watched
    world = await World.made(client)
    found = operations(app.openapi())
    every = {name: operation for name, operation in found.items() if not operation["path"].endswith(OF_NO_TASK)}
    for name in sorted(every, key=lambda name: name in SENT_LAST):
        before = len(watch.commands)
        call = await world.call(every[name])
        if name in ENDLESS:
            call = replace(call, method="HEAD")
        answer = await call.by(client, await world.token())
        assert answer.status_code < 500, (name, answer.text)
        is_of_tasks = name.endswith(("_task", "_tasks", "_trash"))
        assert not is_of_tasks or len(watch.commands) > before, name
    assert check(watch) >= {"find", "findAndModify", "update", "insert", "aggregate"}


QUERIES = [
    "", "?sort=title", "?sort=-due_date", "?sort=due_date,priority", "?q=task", "?status=todo&sort=title", "?count=estimate",
    "?priority=3&count=none", "?tag=a", "?overdue=false", "?fields=id,title", "?offset=1&limit=1", '?where={"metadata.a": 1}',
    '?where={"owner.id": {"$ne": "65f1a2b3c4d5e6f708192a3b"}}', '?where={"key": "k"}&sort=priority,title',
]  # fmt: skip


async def test_shared_and_rare_queries_name_the_owner(watched: tuple[FastAPI, httpx.AsyncClient], watch: Watch) -> None:
    app, client = watched
    ada, bob = await make_account(client, "ada"), await make_account(client, "bob")
    tasks = [await each.make_task(tags=["a"], due_date="2027-01-31") for each in (ada, bob) for _ in range(3)]
    for query in QUERIES:
        for _ in range(2):  # the second time, lists are known to be short, and share a query
            for answer in await asyncio.gather(*(each.get(f"/tasks{query}") for each in (ada, bob, ada, bob))):
                assert answer.status_code == 200, (query, answer.text)
                if cursor := answer.headers.get("x-next-cursor"):
                    joined = f"{query}&" if query else "?"
                    await ada.get(f"/tasks{joined}cursor={cursor}")
        await ada.get(f"/tasks/export{query}" if query.startswith(("?sort", "?where", "?tag", "?q")) else "/tasks/export")
    paths = [f"/tasks/{task['id']}" for task in tasks]
    await asyncio.gather(*(each.get(path) for each in (ada, bob) for path in paths))
    await asyncio.gather(*(each.patch(path, json={"priority": n}) for each in (ada, bob) for path in paths for n in (1, 2)))
    await asyncio.gather(*(each.post("/tasks", json={"title": "More"}) for each in (ada, bob, ada, bob)))
    await writes(ada)
    await leave(app, ada, bob)
    assert "delete" in check(watch)


async def writes(ada: Account) -> None:
    """Writes of every kind, most of them twice."""
    keyed = {"Idempotency-Key": "twice"}
    lines = [{"title": "Imported", "key": "k"}, {"title": "Another", "key": "l"}]
    for _ in range(2):
        await ada.post("/tasks", json={"title": "Once"}, headers=keyed)
        await ada.post("/tasks/import", json=lines)
        await ada.patch('/tasks?where={"key": "k"}&expect=1', json={"metadata": {"a": 1}})
        await ada.patch("/tasks?tag=a", json={"due_date": "2027-02-01"})
    kept = (await ada.get('/tasks?where={"key": "k"}')).json()[0]["id"]
    operations = [{"op": "create", "task": {"title": "In bulk"}}, {"op": "update", "id": kept, "changes": {"priority": 1}}]
    for atomic in ("true", "false"):
        await ada.post(f"/tasks/bulk?atomic={atomic}", json={"operations": operations})
    await ada.delete(f"/tasks/{kept}", headers={"If-Match": '"1"'})
    for _ in range(2):
        await ada.delete(f"/tasks/{kept}")
        await ada.post(f"/tasks/{kept}/restore")
        await ada.post(f"/tasks/{kept}/restore")
    await ada.delete('/tasks?where={"key": "k"}&expect=1')
    await ada.post("/tasks/import?match=id", json=[{"id": kept, "title": "Out of the trash"}])
    await ada.delete(f"/tasks/{kept}")
    await ada.delete(f"/trash/{kept}")


async def leave(app: FastAPI, ada: Account, bob: Account) -> None:
    """Renames one account, and erases the tasks of the other."""
    await ada.patch("/users/me", json={"username": "countess"})
    app.state.services[RenamingJob].wake()
    await ada.get("/users/me/export")
    for erase in account_erasers(app.state.services).values():
        await erase(ObjectId(bob.id))
    assert (await bob.get("/tasks")).json() == []
