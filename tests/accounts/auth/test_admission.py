"""Routes behind bulkheads, and requests that are more than the worker can answer."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from taskapi.accounts.deletion.export import ACCOUNT_EXPORTS
from taskapi.db import driver_threads
from taskapi.main import create_app
from taskapi.web import admission, load, routing
from taskapi.web.admission import Admission, Bulkhead, Work
from tests.client import Account, is_problem
from tests.conftest import make_settings

DEAR = {
    "/tasks?q=word": admission.QUERIES,
    "/tasks?where=%7B%22priority%22%3A1%7D": admission.QUERIES,
    "/tasks?offset=1001": admission.QUERIES,
    "/tasks?limit=21": admission.QUERIES,
    "/tasks?status=todo&priority=1": admission.QUERIES,
    "/tasks?status=todo&sort=title": admission.QUERIES,
    "/tasks?overdue=true": admission.QUERIES,
    "/tasks?sort=priority,title": admission.QUERIES,
    "/trash?offset=1001": admission.QUERIES,
    "/tasks": admission.LISTS,
    "/tasks?status=todo&tz=UTC": admission.LISTS,
    "/tasks?where=%7B%7D": admission.LISTS,
    "/tasks?sort=-priority,due_date&limit=20": admission.LISTS,
    "/trash": admission.LISTS,
    "/tasks/export": admission.EXPORTS,
    "/users/me/events": admission.RECORDS,
    "/webhooks/65f1a2b3c4d5e6f708192a3b/deliveries": admission.RECORDS,
}

KINDS = (admission.LISTS, admission.QUERIES, admission.RECORDS, admission.EXPORTS, admission.BULK, admission.BODIES)


@pytest.fixture
def impatient(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> dict[Work, Bulkhead]:
    """The bulkheads of the application, which let nobody wait."""
    bulkheads = {work: Bulkhead(work._replace(per_account=1, wait_seconds=0)) for work in KINDS}
    monkeypatch.setattr(app.state.services[Admission], "_bulkheads", bulkheads)
    return bulkheads


@contextlib.asynccontextmanager
async def busy(bulkheads: dict[Work, Bulkhead], work: Work, account: str) -> AsyncIterator[None]:
    async with bulkheads[work].admit(account):
        yield


@pytest.mark.parametrize("path", DEAR)
async def test_each_list_passes_the_bulkhead_of_its_cost(ada: Account, impatient: dict[Work, Bulkhead], path: str) -> None:
    for work in (admission.LISTS, admission.QUERIES, admission.EXPORTS, admission.RECORDS):
        async with busy(impatient, work, ada.id):
            answer = await ada.get(path)
        if work == DEAR[path]:
            is_problem(answer, 429, "too_many_at_once")
            assert answer.headers["retry-after"] == "0"
        else:
            assert answer.status_code < 500, answer.text
            assert answer.status_code != 429


async def test_one_accounts_excess_is_nothing_to_another(ada: Account, bob: Account, impatient: dict[Work, Bulkhead]) -> None:
    async with busy(impatient, admission.BULK, ada.id):
        body = {"operations": [{"op": "create", "task": {"title": "A task"}}]}
        is_problem(await ada.post("/tasks/bulk", json=body), 429, "too_many_at_once")
        assert (await bob.post("/tasks/bulk", json=body)).status_code == 200
        assert (await ada.get("/tasks")).status_code == 200
    assert (await ada.post("/tasks/bulk", json=body)).status_code == 200


async def test_who_waits_has_not_sent_a_body(ada: Account, impatient: dict[Work, Bulkhead]) -> None:
    read = False

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        read = True
        yield b"{}"

    async with busy(impatient, admission.BULK, ada.id):
        answer = await ada.post("/tasks/bulk", content=body(), headers={"Content-Type": "application/json"})
    is_problem(answer, 429, "too_many_at_once")
    assert not read


@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "a-key"}])
async def test_json_that_trickles_in_loses_its_place(
    ada: Account, impatient: dict[Work, Bulkhead], monkeypatch: pytest.MonkeyPatch, key: dict[str, str]
) -> None:
    """Or four connections that send a byte a minute would keep everybody else out."""

    async def body() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0)

    with monkeypatch.context() as hurried:
        hurried.setattr(routing, "PLACE_SECONDS", 0.01)
        hurried.setattr(routing, "PLACE_BYTES_PER_SECOND", 10**9)
        answer = await ada.post("/tasks/bulk", content=body(), headers={"Content-Type": "application/json", **key})
    is_problem(answer, 408, "request_timeout")
    assert answer.headers["connection"] == "close"
    whole = {"operations": [{"op": "create", "task": {"title": "A task"}}]}
    assert (await ada.post("/tasks/bulk", json=whole, headers=key)).status_code == 200


async def test_a_stranger_is_asked_who_they_are_first(anonymous: httpx.AsyncClient, impatient: dict[Work, Bulkhead]) -> None:
    is_problem(await anonymous.post("/tasks/bulk", content=b"{"), 401, "not_authenticated")


async def test_refusal_is_not_stored_under_the_idempotency_key(ada: Account, impatient: dict[Work, Bulkhead]) -> None:
    sent: dict[str, Any] = {
        "json": {"operations": [{"op": "create", "task": {"title": "A task"}}]},
        "headers": {"Idempotency-Key": "a-key"},
    }
    async with busy(impatient, admission.BULK, ada.id):
        is_problem(await ada.post("/tasks/bulk", **sent), 429, "too_many_at_once")
    assert (await ada.post("/tasks/bulk", **sent)).status_code == 200


async def test_a_second_application_takes_no_second_place(ada: Account) -> None:
    create_app(make_settings())
    body = {"operations": [{"op": "create", "task": {"title": "A task"}}]}
    assert (await ada.post("/tasks/bulk", json=body)).status_code == 200


def test_every_dear_route_is_marked(app: FastAPI) -> None:
    marked = {route.name: admission.work_of(route.endpoint) for route in app.routes if isinstance(route, APIRoute)}
    assert {name: work for name, work in marked.items() if work} == {
        "export_tasks": admission.EXPORTS,
        "import_tasks": admission.IMPORTS,
        "change_in_bulk": admission.BULK,
        "update_tasks": admission.BY_FILTER,
        "delete_tasks": admission.BY_FILTER,
        "read_task_links": admission.LINKS,
        "export_me": ACCOUNT_EXPORTS,
        **{f"read_{name}": admission.STATISTICS for name in ("summary", "throughput", "burndown", "flow", "lead_time", "tags")},
    }


async def test_large_bodies_wait_for_their_turn(ada: Account, impatient: dict[Work, Bulkhead]) -> None:
    task = await ada.make_task()
    large = b'{"title": "A task"%s}' % (b" " * admission.LARGE_BODY_BYTES)
    sent = {"content": large, "headers": {"Content-Type": "application/json"}}

    async def chunks() -> AsyncIterator[bytes]:
        yield large

    async with busy(impatient, admission.BODIES, ada.id):
        is_problem(await ada.post("/tasks", **sent), 429, "too_many_at_once")
        is_problem(await ada.patch(f"/tasks/{task['id']}", **sent), 429, "too_many_at_once")
        is_problem(await ada.post("/tasks", **{**sent, "content": chunks()}), 429, "too_many_at_once")
        assert (await ada.post("/tasks", json={"title": "A task"})).status_code == 201
        assert (await ada.get(f"/tasks/{task['id']}")).status_code == 200
    assert (await ada.post("/tasks", **sent)).status_code == 201
    assert (await ada.post("/tasks", **{**sent, "content": chunks()})).status_code == 201


def test_refusals_are_spread_over_less_than_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("taskapi.web.load.time.monotonic", lambda: now)
    under = load.Load(driver_threads.threads)
    delays = [under.next_delay() for _ in range(2000)]
    assert delays[0] == 0
    assert delays == sorted(delays)
    assert delays[-1] == load.MAX_DELAY_SECONDS < 1
    now = 10.0
    assert under.next_delay() == 0


@pytest.mark.real
async def test_reads_above_the_limit_per_second_are_refused(
    ada: Account, anonymous: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = await ada.make_task()
    monkeypatch.setattr(load, "MAX_READS", 0)
    refused = await ada.get(f"/tasks/{task['id']}")
    is_problem(refused, 503, "server_busy")
    assert refused.headers["retry-after"] == "1"
    assert (await anonymous.get("/health")).status_code == 200
    assert (await anonymous.get("/ready")).status_code == 200
    assert (await ada.patch(f"/tasks/{task['id']}", json={"priority": 2})).status_code == 200


async def test_every_request_is_counted_once_until_it_ends(app: FastAPI, ada: Account) -> None:
    counted = app.state.services[Admission]._load
    paths = ("/tasks", "/tasks?q=word", "/tasks/export", "/users/me/export", "/trash", "/tasks/export?bom=7", "/none")
    await asyncio.gather(*(ada.get(path) for path in paths), *(ada.call("HEAD", path) for path in paths))
    assert counted.reads == 0
