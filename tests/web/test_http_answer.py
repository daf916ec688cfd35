"""An answer on its way to the connection: what is written at once, and in what order."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from taskapi.web.http_answer import AnswerTransport


class Connection:
    """Notes what is sent, and when it is closed."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.write = self.sent.append

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        self.sent.append(b"closed")


@pytest.fixture
def connection() -> Connection:
    return Connection()


@pytest.fixture
async def cycle() -> Any:
    return SimpleNamespace(response_started=True)


@pytest.fixture
async def answer(connection: Connection, cycle: Any) -> AnswerTransport:
    return AnswerTransport(cast(asyncio.Transport, connection), cycle, asyncio.get_running_loop(), connection.close)


async def test_head_and_body_are_one_write(answer: AnswerTransport, connection: Connection) -> None:
    answer.write(b"head ")
    answer.write(b"body")
    answer.write(b" more")
    assert connection.sent == [b"head body", b" more"]


async def test_a_head_alone_leaves_within_one_turn(answer: AnswerTransport, connection: Connection) -> None:
    answer.write(b"head")
    assert connection.sent == []
    await asyncio.sleep(0)
    answer.write(b"body")
    assert connection.sent == [b"head", b"body"]


async def test_a_continue_leaves_at_once(answer: AnswerTransport, connection: Connection, cycle: Any) -> None:
    cycle.response_started = False
    answer.write(b"continue")
    assert connection.sent == [b"continue"]
    cycle.response_started = True
    answer.write(b"head ")
    answer.write(b"body")
    assert connection.sent == [b"continue", b"head body"]


async def test_closing_sends_what_waits_first(answer: AnswerTransport, connection: Connection) -> None:
    answer.write(b"head")
    answer.close()
    await asyncio.sleep(0)
    assert connection.sent == [b"head", b"closed"]
