"""Messages that take long to read: those of strangers are not read, and those of one account delay no other."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from bson import ObjectId
from fastapi import FastAPI

from taskapi.core.errors import DomainError, NotAuthenticated
from taskapi.events.errors import BadMessage
from taskapi.events.socket.messages import MAX_FIRST_LENGTH, read_token
from taskapi.events.socket.turns import LARGE_MESSAGE, MessageTurns
from tests.client import Account
from tests.events.sockets import Sockets, serving_sockets
from tests.tools import PATIENCE_SECONDS

LARGE = {"$or": [{"title": {"$in": [f"Task {number}" for number in range(100)]}} for _ in range(3)]}


@pytest.fixture
async def sockets(app: FastAPI) -> AsyncIterator[Sockets]:
    async with serving_sockets(app) as served:
        yield served


@pytest.mark.real
async def test_filter_of_a_stranger_is_not_read(sockets: Sockets) -> None:
    """It would take as long as that of a caller with a token."""
    async with sockets.open() as wire:
        await wire.send("subscribe", id="s", where={"no_such_field": 1})
        assert await wire.closing() == (4401, "not_authenticated")


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({"type": "subscribe", "id": "s", "where": {"no_such_field": 1}}, NotAuthenticated),
        ({"type": "authenticate", "token": MAX_FIRST_LENGTH * "x"}, BadMessage),
        ({"type": "ping", "more": MAX_FIRST_LENGTH * [{}]}, BadMessage),
    ],
    ids=["filter", "long", "values"],
)
def test_first_message_is_a_token(message: dict[str, Any], error: type[DomainError]) -> None:
    with pytest.raises(error):
        read_token(json.dumps(message))


@pytest.mark.real
async def test_large_filters_are_read_as_small_ones(sockets: Sockets, ada: Account) -> None:
    assert len(json.dumps(LARGE)) > LARGE_MESSAGE
    async with sockets.of(ada) as wire:
        await wire.subscribe(where=LARGE)
        await wire.send("subscribe", id="wrong", where={**LARGE, "no_such_field": 1})
        refused = await wire.expect("error", code="validation_error", id="wrong")
        assert [each["field"] for each in refused["details"]] == ["where.no_such_field"]
        await ada.make_task("Another")
        await ada.make_task("Task 7")
        assert (await wire.event())["task"]["title"] == "Task 7"


async def test_accounts_take_turns_in_a_thread() -> None:
    turns, ada, bob, order = MessageTurns(), ObjectId(), ObjectId(), list[str]()
    many = [asyncio.create_task(turns.run(ada, partial(order.append, "ada"))) for _ in range(20)]
    await asyncio.sleep(0)
    await turns.run(bob, partial(order.append, "bob"))
    assert order.index("bob") <= 2  # behind the one that ran, and the next at most
    await asyncio.gather(*many)
    assert await turns.run(ada, threading.current_thread) is not threading.main_thread()


async def test_turn_of_who_disconnects_goes_on() -> None:
    """Until the thread has ended: otherwise there would be as many threads as connections that do so."""
    turns, begun, go_on = MessageTurns(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go_on.wait(PATIENCE_SECONDS)

    broken_off = asyncio.create_task(turns.run(ObjectId(), work))
    assert await asyncio.to_thread(begun.wait, PATIENCE_SECONDS)
    broken_off.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not broken_off.done()
    go_on.set()
    await asyncio.wait([broken_off])
    assert broken_off.cancelled()
