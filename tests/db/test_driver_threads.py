"""The driver's threads: a share for each kind of operation, and queues that refuse what would wait too long."""

import asyncio
import threading
from concurrent.futures import Future
from functools import partial

import pytest
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.command_cursor import CommandCursor
from pymongo.database import Database

from taskapi.core.errors import ServerBusy
from taskapi.db import driver_threads
from taskapi.db.driver_threads import ENDS, QUERIES, STATE, WRITES, DriverThreads, Lane, QueueFull
from taskapi.db.errors import to_domain_error


def test_every_operation_with_a_lane_exists_in_driver() -> None:
    methods = {
        getattr(kind, name).__qualname__
        for kind in (Collection, Database, CommandCursor, ClientSession)
        for name in dir(kind)
        if callable(getattr(kind, name)) and hasattr(getattr(kind, name), "__qualname__")
    }
    assert methods >= WRITES | ENDS | QUERIES | STATE


@pytest.mark.parametrize("other", ["Collection.find_one", "ClientSession.commit_transaction"])
def test_operations_that_hang_hold_no_other_kind(other: str) -> None:
    threads, released = DriverThreads(), threading.Event()

    def insert_one() -> bool:
        return released.wait(30)

    def call_other() -> str:
        return "done"

    insert_one.__qualname__, call_other.__qualname__ = "Collection.insert_one", other
    writes: list[Future[bool]] = [threads.submit(partial(lambda method: method(), insert_one)) for _ in range(64)]
    assert threads.submit(partial(lambda method: method(), call_other)).result(30) == "done"
    assert not any(write.done() for write in writes)
    released.set()
    assert all(write.result(30) for write in writes)


def test_call_waiting_too_long_is_refused_with_followers(monkeypatch: pytest.MonkeyPatch) -> None:
    lane, begun, released = Lane("test", 1), threading.Event(), threading.Event()

    def run() -> bool:
        begun.set()
        return released.wait(30)

    running = lane.submit(run)
    assert begun.wait(30)
    waiting = lane.submit(lambda: True)
    monkeypatch.setattr(driver_threads, "MAX_WAIT_SECONDS", 0)
    with pytest.raises(QueueFull):
        lane.submit(lambda: True).result(30)
    released.set()
    assert running.result(30)
    with pytest.raises(QueueFull):
        waiting.result(30)
    monkeypatch.undo()
    assert lane.submit(lambda: True).result(30)


def test_lane_is_congested_by_many_long_waiting_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    lane, released = Lane("test", 1), threading.Event()
    waiting = [lane.submit(lambda: released.wait(30)) for _ in range(driver_threads.CONGESTED_CALLS + 2)]
    assert not lane.is_congested
    monkeypatch.setattr(driver_threads, "CONGESTED_SECONDS", 0)
    assert lane.is_congested
    released.set()
    assert all(each.result(30) for each in waiting)
    assert not lane.is_congested
    assert lane.waited == 0


async def test_call_cancelled_while_waiting_never_runs() -> None:
    lane, released = Lane("test", 1), threading.Event()
    running = lane.submit(lambda: released.wait(30))
    waiting = asyncio.wrap_future(lane.submit(lambda: pytest.fail("it was cancelled")))
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    released.set()
    assert await asyncio.wrap_future(running)
    assert await asyncio.wrap_future(lane.submit(lambda: True))


def test_full_queue_is_not_reported_as_database_failure() -> None:
    assert isinstance(to_domain_error(QueueFull()), ServerBusy)
