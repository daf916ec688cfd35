"""Streams take turns to begin. Whoever waits for one holds up nobody else, and leaves nothing behind when it gives up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI

from taskapi.events.guard import ListenerGuard
from taskapi.web import admission
from taskapi.web.admission import ANYBODY, Admission
from taskapi.web.disconnect import KEY, Disconnect
from taskapi.web.load import MAX_READS
from tests.client import Account, is_problem
from tests.events.listening import Listening, listening, scope_of
from tests.stored import service

pytestmark = pytest.mark.real


@asynccontextmanager
async def all_turns_taken() -> AsyncIterator[None]:
    work = admission.BEGINNINGS
    async with AsyncExitStack() as taken:
        for _ in range(work.per_worker):
            await taken.enter_async_context(service(Admission).admit(work, ANYBODY, {"method": "POST"}))
        yield


@asynccontextmanager
async def waiting(app: FastAPI, headers: dict[str, str], count: int = 1) -> AsyncIterator[list[Listening]]:
    """Requests for streams that have come."""
    streams = [Listening() for _ in range(count)]
    disconnect = Disconnect()
    scopes = [scope_of(headers, {}, **{KEY: disconnect}) for _ in streams]
    running = [asyncio.create_task(app(scope, each.receive, each.send)) for scope, each in zip(scopes, streams, strict=True)]
    await asyncio.sleep(0)
    try:
        yield streams
    finally:
        disconnect.notify()
        for each in streams:
            each.went_away.set()
        await asyncio.gather(*running)


async def test_who_waits_is_no_load(app: FastAPI, ada: Account) -> None:
    task = await ada.make_task("Paint the fence")
    async with AsyncExitStack() as stack:
        async with all_turns_taken():
            streams = await stack.enter_async_context(waiting(app, ada.headers, MAX_READS + 1))
            assert service(Admission).load.reads == 0
            assert (await ada.get(f"/tasks/{task['id']}")).json() == task
            assert not any(each.status for each in streams)
        for each in streams[:100]:
            assert (await each.next()).name == "hello"
        for each in streams[100:]:  # an account has no more
            await each.end()
            assert (each.status, each.headers["retry-after"]) == (429, "60")
    assert service(ListenerGuard)._listeners == set()


async def test_a_long_wait_ends(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "BEGINNINGS", admission.BEGINNINGS._replace(wait_seconds=0))
    async with all_turns_taken():
        refused = await ada.get("/events/stream")
    is_problem(refused, 503, "server_busy")
    assert refused.headers["retry-after"] == "1"
    assert service(Admission).load.reads == 0
    assert service(ListenerGuard)._listeners == set()


async def test_who_goes_away_gives_up_its_turn(app: FastAPI, ada: Account) -> None:
    async with all_turns_taken():
        async with waiting(app, ada.headers, 3) as gone:
            assert not any(each.status for each in gone)
        assert [each.status for each in gone] == [503] * 3
    async with listening(app, ada.headers) as stream:
        assert (await stream.next()).name == "hello"
    assert service(Admission).load.reads == 0


async def test_who_may_not_follow_returns_its_turn(anonymous: httpx.AsyncClient, ada: Account) -> None:
    for _ in range(2 * admission.BEGINNINGS.per_worker):
        is_problem(await anonymous.get("/events/stream"), 401, "not_authenticated")
        is_problem(await ada.get("/events/stream", params={"since": "?"}), 422, "validation_error")
    async with all_turns_taken():
        pass
