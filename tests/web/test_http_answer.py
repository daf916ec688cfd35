"""An answer on its way to the connection: what is written at once, and in what order."""

import asyncio
import gc
import weakref
from types import SimpleNamespace
from typing import Any, cast

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from taskapi.web.http_answer import AnswerTransport
from taskapi.web.http_protocol import HttpProtocol
from tests.tools import PATIENCE_SECONDS


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


async def serve(application: Any, opened: list[HttpProtocol]) -> asyncio.Server:
    """A server of ``application``; its connections go to ``opened``."""
    config = Config(application, lifespan="off", log_config=None)
    config.load()

    def make() -> HttpProtocol:
        opened.append(HttpProtocol(config=config, server_state=ServerState(), app_state={}))
        return opened[-1]

    return await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)


STREAM = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    ("request_head", "invalid", "sent"),
    [(STREAM, b"zz\r\n", [200]), (HEAD, b"\0\r\n\r\n", [200, 400])],
    ids=["streamed", "without content"],
)
async def test_a_refusal_lets_the_head_go_first(request_head: bytes, invalid: bytes, sent: list[int]) -> None:
    opened: list[HttpProtocol] = []
    faults: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
        opened[0].data_received(invalid)

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: faults.append(context))
    async with await serve(application, opened) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(request_head)
        text = await reader.read()
        writer.close()
    loop.set_exception_handler(None)
    assert [int(line.split()[1]) for line in text.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")] == sent
    assert faults == []


async def test_answered_requests_need_no_garbage_collector() -> None:
    requests: list[weakref.ref[Any]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        requests.append(weakref.ref(receive.__self__))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    gc.disable()
    try:
        async with await serve(application, []) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for _ in range(3):
                writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                await reader.readuntil(b"\r\n\r\n")
            alive = [request() is not None for request in requests]
            writer.close()
    finally:
        gc.enable()
    assert alive == [False, False, True]  # the connection knows the last


@pytest.mark.parametrize("end", [b"", b"Connection: close\r\n"], ids=["by the client", "by the server"])
async def test_closed_connections_need_no_garbage_collector(end: bytes) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    opened: list[HttpProtocol] = []
    freed = asyncio.Event()
    gc.disable()
    try:
        async with await serve(application, opened) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % end)
            await reader.readuntil(b"\r\n\r\n")
            closed = weakref.ref(opened.pop(), lambda _: freed.set())
            writer.close()
            async with asyncio.timeout(PATIENCE_SECONDS):
                await freed.wait()
    finally:
        gc.enable()
    assert closed() is None
