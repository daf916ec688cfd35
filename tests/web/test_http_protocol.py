"""The limits of one connection, over raw sockets: size and time of a head, pieces of a body, trailers, number."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from taskapi.core.errors import TooManyAtOnce
from taskapi.web import http_reading
from taskapi.web.admission import Bulkhead, Work
from taskapi.web.disconnect import of_scope
from taskapi.web.http_head import MAX_HEAD_BYTES
from taskapi.web.http_protocol import HttpProtocol

CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
PIECE = b"x: " + b"y" * 997 + b"\r\n"  # of a thousand bytes and two


class Impatient(HttpProtocol):
    """One that can be tested without waiting for it."""

    head_seconds = 0.2
    body_seconds = 0.2
    max_connections = 3
    half_closed: asyncio.Event
    gone: asyncio.Event
    bulkhead: Bulkhead
    opened: list["Impatient"]
    reads = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.opened.append(self)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self.reads += 1
        super().data_received(data)

    def eof_received(self) -> bool:  # type: ignore[override]
        kept = super().eof_received()
        self.half_closed.set()
        return kept


async def measure(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the size of the body and the names of the headers once the body has come.

    At ``/early`` it does not wait for the body, at ``/late`` it waits for a client to end its side of a connection, at
    ``/gone`` for a client to go away, at ``/turn`` for its turn in a bulkhead.
    """
    if scope["path"] == "/turn":
        with pytest.raises(TooManyAtOnce):
            await Impatient.bulkhead.admit("ada", of_scope(scope)).__aenter__()
    if scope["path"] == "/gone":
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
        assert (await receive())["type"] == "http.disconnect"
        Impatient.gone.set()
        return
    if scope["path"] == "/late":
        await Impatient.half_closed.wait()
    size, more = 0, True
    while more and scope["path"] != "/early":
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message["more_body"]
    body = json.dumps({"size": size, "headers": [name.decode() for name, _ in scope["headers"]]}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    config = Config(measure, lifespan="off", log_config=None, timeout_keep_alive=1)
    config.load()
    Impatient.half_closed, Impatient.gone = asyncio.Event(), asyncio.Event()
    Impatient.opened = []
    Impatient.bulkhead = Bulkhead(Work("tests", 1, 1, 30))
    state = ServerState()
    make = partial(Impatient, config=config, server_state=state, app_state={})
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    while state.connections:  # noqa: ASYNC110 - a set of Uvicorn's
        await asyncio.sleep(0)


async def exchange(port: int, *packets: bytes, half_close: bool = False) -> list[tuple[int, bytes]]:
    """The answers to ``packets`` until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for packet in packets:
            writer.write(packet)
            await writer.drain()
        if half_close:
            writer.write_eof()
        text = await reader.read()
    finally:
        writer.close()
    found = []
    while text:
        start, _, text = text.partition(b"\r\n\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in start.split(b"\r\n")[1:])
        size = int(headers[b"content-length"])
        found.append((int(start.split(b" ", 2)[1]), text[:size]))
        text = text[size:]
    return found


def problem(answers: list[tuple[int, bytes]]) -> tuple[int, str]:
    (status, body), *others = answers
    assert others == []
    assert json.loads(body)["status"] == status
    return status, json.loads(body)["error"]


@pytest.mark.parametrize(
    ("packets", "expected"),
    [
        ([b"GET / HTTP/1.1\r\n", *[PIECE] * 100], (431, "headers_too_large")),
        ([b"GET / HTTP/1.1\r\n" + PIECE * 40 + b"\r\n"], (431, "headers_too_large")),
        ([b"GET / HTTP/1.1\r\nx: ", *[b"y" * 1000] * 100], (431, "headers_too_large")),
        ([b"GET / HTTP/1.1\r\n", b"y" * 1000 * 100], (431, "headers_too_large")),
        ([b"GET /" + b"y" * 100_000 + b" HTTP/1.1\r\n" + PIECE * 40], (431, "headers_too_large")),
        ([b"GET / HTTP/1.1\r\n\r\n"], (400, "bad_request")),
        ([b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"], (400, "bad_request")),
    ],
)
async def test_a_head_that_is_refused_is_answered(port: int, packets: list[bytes], expected: tuple[int, str]) -> None:
    assert problem(await exchange(port, *packets)) == expected


async def test_a_head_just_within_the_limit_is_served(port: int) -> None:
    many = PIECE * (MAX_HEAD_BYTES // len(PIECE))
    (status, body), second = await exchange(port, b"GET / HTTP/1.1\r\nHost: a\r\n" + many + b"\r\n", LAST)
    assert (status, second[0]) == (200, 200)
    assert json.loads(body)["headers"].count("x") == MAX_HEAD_BYTES // len(PIECE)


async def test_small_head_before_large_body_is_served(port: int) -> None:
    start = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\nConnection: close\r\n\r\n"
    (answer,) = await exchange(port, start + b"y" * 1_000_000)
    assert json.loads(answer[1])["size"] == 1_000_000


@pytest.mark.parametrize("end", [b"", b"\r\n"])
async def test_trailers_have_a_largest_size(port: int, end: bytes) -> None:
    packets = [CHUNKED + b"1\r\na\r\n0\r\n", *[PIECE * 100] * 20, end]
    answers = await exchange(port, *packets)
    assert problem(answers) == (431, "headers_too_large")


async def test_extensions_of_chunks_have_a_largest_size(port: int) -> None:
    assert problem(await exchange(port, CHUNKED + b"1;", *[b"y" * 100_000] * 20)) == (431, "headers_too_large")


async def test_trailers_are_no_headers(port: int) -> None:
    trailers = b"Authorization: Bearer stolen\r\nx: y\r\n\r\n"
    (status, body), second = await exchange(port, CHUNKED + b"1\r\na\r\n", b"0\r\n" + trailers, LAST)
    assert (status, json.loads(body)) == (200, {"size": 1, "headers": ["host", "transfer-encoding"]})
    assert second[0] == 200


@pytest.mark.parametrize("packets", [[], [b"GET / HT"], [b"GET /", *[b"y" * 1000] * 100], [b"GET / HTTP/1.1\r\nHost: a\r\n"]])
async def test_a_head_has_to_come_in_time(port: int, packets: list[bytes]) -> None:
    assert problem(await exchange(port, *packets)) == (408, "request_timeout")


@pytest.mark.parametrize("start", [b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab", CHUNKED, CHUNKED + b"5\r\nab"])
async def test_a_body_has_to_go_on_in_time(port: int, start: bytes) -> None:
    assert problem(await exchange(port, start)) == (408, "request_timeout")


async def test_second_head_of_a_connection_has_a_timeout(port: int) -> None:
    first, second = await exchange(port, GET + b"GET / HT")
    assert first[0] == 200
    assert problem([second]) == (408, "request_timeout")


@pytest.mark.parametrize(("before", "after"), [(0, b""), (2, b""), (0, b"GET / HT")])
async def test_half_closed_client_gets_its_answers(port: int, before: int, after: bytes) -> None:
    late = GET.replace(b" / ", b" /late ")
    answers = await exchange(port, GET * before + late + after, half_close=True)
    assert [status for status, _ in answers] == [200] * (before + 1)


async def test_client_half_closing_mid_request_is_disconnected(port: int) -> None:
    assert await exchange(port, CHUNKED + b"5\r\nab", half_close=True) == []
    assert await exchange(port, b"GET / HT", half_close=True) == []


@pytest.mark.parametrize("behind", [b"", GET, GET + GET, CHUNKED])
async def test_running_request_learns_of_its_client_disconnecting(port: int, behind: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GET.replace(b" / ", b" /gone ") + behind)
    await reader.readuntil(b"\r\n\r\n")
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
    writer.transport.abort()
    await Impatient.gone.wait()


@pytest.mark.parametrize("before", [1, 3])
async def test_broken_body_leaves_earlier_answers_intact(port: int, before: int) -> None:
    *answers, last = await exchange(port, GET * before + CHUNKED + b"zz\r\n")
    assert [status for status, _ in answers] == [200] * before
    assert problem([last]) == (400, "bad_request")


@pytest.mark.parametrize("rest", [[], [b"zz\r\n"], [b"0\r\n", *[PIECE] * 100]])
async def test_answered_request_gets_no_second_answer(port: int, rest: list[bytes]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(CHUNKED.replace(b" / ", b" /early "))
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    writer.writelines(rest)
    assert b"HTTP/1.1" not in await reader.read()
    writer.close()


async def test_early_answer_without_continue_keeps_the_connection(port: int) -> None:
    head = b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n"
    answers = await exchange(port, head, b"y" * 100_000, LAST)
    assert [status for status, _ in answers] == [200, 200]  # and no 100


async def test_long_body_already_answered_is_read_to_end(port: int) -> None:
    head = b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n"
    answers = await exchange(port, head, b"y" * 2_000_000, LAST)
    assert [status for status, _ in answers] == [200, 200]


async def test_rest_of_answered_body_is_read_with_pauses(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_reading, "PAUSE_SECONDS", 3600)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
    await reader.readuntil(b"}")
    for _ in range(4):
        writer.write(b"y")
        assert [status for status, _ in await exchange(port, LAST)] == [200]  # the server has looked at all that came before
    writer.close()
    Impatient.opened[0].transport.close()  # it does not read that the client has gone
    assert Impatient.opened[0].reads == 2  # its head, and the piece at which it paused


async def test_disconnected_client_gives_up_its_turn(port: int) -> None:
    bulkhead = Impatient.bulkhead
    async with bulkhead.admit("ada"):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET.replace(b" / ", b" /turn "))
        while not bulkhead._waiters:  # noqa: ASYNC110 - a number
            await asyncio.sleep(0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
        writer.transport.abort()
        while bulkhead._waiters:  # noqa: ASYNC110 - a number
            await asyncio.sleep(0)


async def test_half_closed_waiting_client_is_refused_its_turn(port: int) -> None:
    async with Impatient.bulkhead.admit("ada"):
        turn = GET.replace(b" / ", b" /turn ")
        assert [status for status, _ in await exchange(port, turn, half_close=True)] == [200]
    assert Impatient.bulkhead._waiters == 0


async def test_blank_lines_keep_no_connection_open(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GET)
    await reader.readuntil(b"}")
    writer.write(b"\r\n")
    assert await reader.read() == b""
    writer.close()


async def test_a_connection_too_many_is_told(port: int) -> None:
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(Impatient.max_connections)]
    for reader, writer in held:
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert b"\r\nretry-after: 1\r\n" in await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert problem(await exchange(port)) == (503, "too_many_connections")
    for _, writer in held:
        writer.close()
        await writer.wait_closed()
    while True:  # until the server has noticed
        answers = await exchange(port, LAST)
        if answers[0][0] == 200:
            break
