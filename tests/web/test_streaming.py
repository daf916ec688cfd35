"""Answers sent while they are made, and lines read while they come."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from taskapi.core.errors import DatabaseUnavailable
from taskapi.web import disconnect, streaming
from taskapi.web.disconnect import Disconnect
from taskapi.web.streaming import Streamed, lines

LONGEST = 8


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def collected(*parts: bytes) -> list[bytes]:
    return [line async for line in lines(chunks(*parts), LONGEST)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", []),
        (b"\n", [b""]),
        (b"a", [b"a"]),
        (b"a\n", [b"a"]),
        (b"a\r\n\nb", [b"a\r", b"", b"b"]),
        (b"a\rb\x0b\x0c\xc2\x85\n", [b"a\rb\x0b\x0c\xc2\x85"]),
        (b"12345678\n123456789\nx", [b"12345678", b"123456789", b"x"]),
        (b"123456789", [b"123456789"]),
        (b"1234567890123456789012345678901234567890\n", [b"123456789"]),
    ],
)
async def test_lines_are_the_same_however_they_come(text: bytes, expected: list[bytes]) -> None:
    assert await collected(text) == expected
    assert await collected(*(text[place : place + 1] for place in range(len(text)))) == expected
    for place in range(len(text)):
        assert await collected(text[:place], b"", text[place:]) == expected


class Sent:
    """What a server is told to send."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    async def __call__(self, message: Any) -> None:
        self.messages.append(message)

    @property
    def complete(self) -> bool:
        return bool(self.messages) and not self.messages[-1].get("more_body", True)


async def waits() -> Any:
    await asyncio.Event().wait()


SCOPE: Any = {"type": "http", "asgi": {"spec_version": "2.3"}}


async def test_a_body_is_sent_to_its_end() -> None:
    async def parts() -> AsyncGenerator[bytes, None]:
        yield b"one"
        yield b"two"

    sent = Sent()
    await (await Streamed.begun(parts(), {"X-Kind": "test"}))(SCOPE, waits, sent)
    assert b"".join(message.get("body", b"") for message in sent.messages) == b"onetwo"
    assert sent.complete
    assert (b"x-kind", b"test") in sent.messages[0]["headers"]


async def test_failure_before_the_first_part_is_ordinary_error() -> None:
    async def parts() -> AsyncGenerator[bytes, None]:
        raise DatabaseUnavailable
        yield b""

    with pytest.raises(DatabaseUnavailable):
        await Streamed.begun(parts(), {})


async def test_failure_in_the_middle_leaves_body_unterminated(caplog: pytest.LogCaptureFixture) -> None:
    closed = []

    async def parts() -> AsyncGenerator[bytes, None]:
        try:
            yield b"one"
            raise DatabaseUnavailable
        finally:
            closed.append(True)

    sent = Sent()
    await (await Streamed.begun(parts(), {}))(SCOPE, waits, sent)
    assert [message.get("body") for message in sent.messages] == [None, b"one"]
    assert not sent.complete
    assert closed == [True]
    assert "DatabaseUnavailable" in caplog.text


async def endless(closed: list[bool]) -> AsyncGenerator[bytes, None]:
    """Parts without an end; notes when they are closed."""
    try:
        while True:
            yield b"more"
    finally:
        closed.append(True)


@pytest.mark.parametrize("version", ["2.3", "2.4"])
async def test_parts_are_closed_when_the_client_disconnects(version: str) -> None:
    closed: list[bool] = []

    async def disconnects() -> Any:
        return {"type": "http.disconnect"}

    async def gone(message: Any) -> None:
        if message["type"] == "http.response.body":
            raise OSError

    answer = await Streamed.begun(endless(closed), {})
    if version == "2.3":
        await answer({**SCOPE, "asgi": {"spec_version": version}}, disconnects, Sent())
    else:
        with pytest.raises(ClientDisconnect):
            await answer({**SCOPE, "asgi": {"spec_version": version}}, disconnects, gone)
    assert closed == [True]


class Connection(Disconnect):
    """Notes whether it was closed."""

    aborted = False

    def abort(self) -> None:
        self.aborted = True


@pytest.mark.parametrize("version", ["2.3", "2.4"])
async def test_a_client_that_reads_nothing_is_cut(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """Or it would keep its place in a bulkhead for as long as it likes."""
    monkeypatch.setattr(streaming, "SEND_SECONDS", 0.01)
    closed, connection = list[bool](), Connection()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await waits()

    scope = {**SCOPE, "asgi": {"spec_version": version}, disconnect.KEY: connection}
    await (await Streamed.begun(endless(closed), {}))(scope, waits, send)
    assert connection.aborted
    assert closed == [True]
