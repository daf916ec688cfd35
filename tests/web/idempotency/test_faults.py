"""Requests that fail, hang or lose their key half-way: nothing is done twice, and no key stays locked."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from bson import ObjectId
from fastapi import FastAPI
from pymongo.errors import AutoReconnect

from taskapi.accounts.auth.loaders import AccountLoader
from taskapi.core.clock import utc_now
from taskapi.core.errors import DatabaseUnavailable
from taskapi.db.connection import BSON
from taskapi.main import create_app
from taskapi.tasks.services.tasks import TaskService
from taskapi.tasks.storage.inserter import TaskInserter
from tests.client import Account, is_problem, stored_task
from tests.conftest import make_settings, running
from tests.tools import PATIENCE_SECONDS
from tests.web.idempotency.records import KEYED, change_record, records, tasks, the_record

BODY = {"title": "Once"}
REPLAY = "idempotent-replay"


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def at_look_up(app: FastAPI, do: Callable[[], Awaitable[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the first look-up of an account do something before."""
    accounts, done = app.state.services[AccountLoader], False
    look_up = accounts.get

    async def get(document_id: ObjectId) -> Any:
        nonlocal done
        if not done:
            done = True
            await do()
        return await look_up(document_id)

    monkeypatch.setattr(accounts, "get", get)


def after_insert(do: Callable[[], Awaitable[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the first insert of a task do something afterwards."""
    insert, done = TaskInserter.insert, False

    async def insert_then_do(inserter: TaskInserter, task: BSON) -> None:
        nonlocal done
        await insert(inserter, task)
        if not done:
            done = True
            await do()

    monkeypatch.setattr(TaskInserter, "insert", insert_then_do)


@pytest.mark.parametrize(("error", "status"), [(AutoReconnect("gone"), 503), (ZeroDivisionError("oops"), 500)], ids=str)
async def test_repeat_of_failure_after_write_creates_no_duplicate(
    ada: Account, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    async def fail() -> None:
        raise error

    after_insert(fail, monkeypatch)
    assert (await ada.post("/tasks", json=BODY, headers=KEYED)).status_code == status
    assert await tasks() == 1
    record = await the_record()
    assert (record["status"], record["holder"]) == (None, None)
    is_problem(await ada.post("/tasks", json={"title": "Other"}, headers=KEYED), 422, "idempotency_key_reused")
    again = await ada.post("/tasks", json=BODY, headers=KEYED)
    assert (again.status_code, REPLAY in again.headers) == (201, False)
    assert again.json()["id"] == str(record["seed"])
    assert await tasks() == 1


@pytest.mark.real
async def test_bulk_interrupted_by_the_database_runs_again(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    task = await ada.make_task()
    operations = [{"op": "create", "task": {"title": "Once"}}, {"op": "update", "id": task["id"], "changes": {"priority": 5}}]

    async def send() -> httpx.Response:
        return await ada.post("/tasks/bulk", json={"operations": operations}, headers={"Idempotency-Key": "bulk"})

    async def fail(*_: Any) -> None:
        raise DatabaseUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(TaskService, "update", fail)
        assert [result["status"] for result in (await send()).json()] == [201, 503]
    again = await send()
    assert [result["status"] for result in again.json()] == [201, 200]
    assert "idempotent-replay" not in again.headers
    assert await tasks() == 2
    assert (await send()).headers["idempotent-replay"] == "true"


@pytest.mark.real
async def test_repeated_bulk_runs_only_what_failed(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    done, failed = await ada.make_task(), await ada.make_task()
    update = TaskService.update

    async def fail_once(service: TaskService, owner: Any, task_id: str, *more: Any) -> Any:
        if task_id == failed["id"]:
            monkeypatch.setattr(TaskService, "update", update)
            raise DatabaseUnavailable
        return await update(service, owner, task_id, *more)

    monkeypatch.setattr(TaskService, "update", fail_once)
    changes = {"changes": {"title": "From the bulk"}}
    operations = [
        {"op": "create", "task": {"title": "Once"}},
        {"op": "update", "id": done["id"], "version": 1, **changes},
        {"op": "delete", "id": done["id"], "version": 9},
        {"op": "update", "id": failed["id"], **changes},
        {"op": "update", "id": done["id"], "version": 2, **changes},
    ]
    first = await ada.post("/tasks/bulk", json={"operations": operations}, headers=KEYED)
    assert [result["status"] for result in first.json()] == [201, 200, 412, 503, 503]
    record = await the_record()
    assert (record["body"], record["holder"], record["headers"][-1]) == (first.content, None, ["taskapi-unfinished", "true"])
    assert (await ada.patch(f"/tasks/{failed['id']}", json={"priority": 5})).status_code == 200

    again, replay = [await ada.post("/tasks/bulk", json={"operations": operations}, headers=KEYED) for _ in range(2)]
    assert [result["status"] for result in again.json()] == [201, 200, 412, 200, 200]
    assert again.json()[:3] == first.json()[:3]
    assert [result["version"] for result in again.json()[3:]] == [3, 3]
    assert (REPLAY in again.headers, replay.content, replay.headers[REPLAY]) == (False, again.content, "true")
    assert [(await stored_task(each["id"]))["version"] for each in (done, failed)] == [3, 3]
    assert (await the_record())["headers"] == [[name, again.headers[name]] for name in ("content-length", "content-type")]
    assert await tasks() == 3


@pytest.mark.real
async def test_bulk_with_damaged_results_runs_again(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    task = await ada.make_task()
    body = {"operations": [{"op": "update", "id": task["id"], "changes": {"priority": 5}}]}

    async def fail(*_: Any) -> None:
        raise DatabaseUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(TaskService, "update", fail)
        assert (await ada.post("/tasks/bulk", json=body, headers=KEYED)).json()[0]["status"] == 503
    await change_record(body=b"[{")
    again = await ada.post("/tasks/bulk", json=body, headers=KEYED)
    assert (again.status_code, again.json()[0]["status"]) == (200, 200)
    assert ((await stored_task(task["id"]))["priority"], (await the_record())["body"]) == (5, again.content)


async def test_missing_database_is_503_before_anything_is_reserved(
    app: FastAPI, ada: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise AutoReconnect("db.internal:27017 closed")

    at_look_up(app, fail, monkeypatch)
    answer = await ada.post("/tasks", json=BODY, headers=KEYED)
    is_problem(answer, 503, "database_unavailable")
    assert answer.headers["retry-after"] == "2"
    assert (await records(), await tasks()) == (0, 0)


@pytest.mark.parametrize("size", [10, 100_000], ids=["before the key is reserved", "while the route reads"])
async def test_disconnected_caller_leaves_the_key_free(app: FastAPI, ada: Account, size: int) -> None:
    request = ada.client.build_request("POST", "/tasks", json=BODY, headers={**ada.headers, **KEYED})
    scope = {"type": "http", "method": "POST", "path": "/tasks", "raw_path": b"/tasks", "query_string": b"", "client": None}
    headers = [(name.lower(), value) for name, value in request.headers.raw]
    messages = iter([{"type": "http.request", "body": b" " * size, "more_body": True}, {"type": "http.disconnect"}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    await app({**scope, "headers": headers, "root_path": "", "scheme": "http", "server": None}, receive, send)
    assert sent == []
    assert await records() == (size > 65_536)
    assert (await ada.post("/tasks", json=BODY, headers=KEYED)).status_code == 201
    assert await tasks() == 1


class Hanging:
    """A POST of a task that hangs after its insert, in an application whose leases are short."""

    def __init__(self, answer: "asyncio.Task[httpx.Response]", go_on: asyncio.Event) -> None:
        self.answer, self.go_on = answer, go_on


@pytest.fixture
async def hanging(ada: Account, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hanging]:
    """Ada's request, under way in a second application on the same database."""
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        reached.set()
        await go_on.wait()

    application = create_app(make_settings(idempotency_lease_seconds=3))
    async with running(application) as client:
        after_insert(hang, monkeypatch)
        call = client.post("/tasks", json=BODY, headers={**ada.headers, **KEYED})
        answer = asyncio.create_task(call)
        await reached.wait()
        try:
            yield Hanging(answer, go_on)
        finally:
            answer.cancel()
            await asyncio.wait([answer])


@pytest.mark.real
async def test_a_slow_request_keeps_its_key(ada: Account, hanging: Hanging) -> None:
    begun = await the_record()

    async def lease_was_renewed() -> bool:
        return bool((await the_record())["locked_until"] > begun["locked_until"])

    await eventually(lease_was_renewed)
    is_problem(await ada.post("/tasks", json=BODY, headers=KEYED), 409, "idempotency_in_flight")
    hanging.go_on.set()
    assert (await hanging.answer).status_code == 201
    assert (await ada.post("/tasks", json=BODY, headers=KEYED)).headers[REPLAY] == "true"
    assert await tasks() == 1


@pytest.mark.real
async def test_a_run_that_lost_its_key_records_nothing(ada: Account, hanging: Hanging) -> None:
    await change_record(holder=ObjectId(), locked_until=utc_now() - timedelta(seconds=1))
    second = await ada.post("/tasks", json=BODY, headers=KEYED)
    assert (second.status_code, REPLAY in second.headers) == (201, False)
    recorded = await the_record()
    hanging.go_on.set()
    is_problem(await hanging.answer, 409, "idempotency_in_flight")
    assert await the_record() == recorded
    assert (await ada.post("/tasks", json=BODY, headers=KEYED)).json() == second.json()
    assert await tasks() == 1


@pytest.mark.real
async def test_a_run_that_is_cancelled_frees_its_key(ada: Account, hanging: Hanging) -> None:
    hanging.answer.cancel()
    await asyncio.wait([hanging.answer])
    assert (await the_record())["holder"] is None
    assert (await ada.post("/tasks", json=BODY, headers=KEYED)).status_code == 201
    assert await tasks() == 1
