"""What a connection does once the server stops, over raw sockets: no request is cut, nothing idle stays."""

import asyncio
import os
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from taskapi.web.http_protocol import HttpProtocol

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LONG = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n"


class Service:
    """A server in this process whose answers wait until they are allowed."""

    def __init__(self) -> None:
        class Protocol(HttpProtocol):
            stop_seconds = 0.1

        self.protocol = Protocol
        self.state = ServerState()
        self.asked, self.allowed = asyncio.Event(), asyncio.Event()
        self.allowed.set()
        self.port = 0
        self.clients: list[asyncio.StreamWriter] = []

    async def answer(self, _: Any, __: Any, send: Any) -> None:
        """Gives the head, and the body when that is allowed."""
        self.asked.set()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await self.allowed.wait()
        await send({"type": "http.response.body", "body": b"ok"})

    def stop(self) -> None:
        for connection in list(self.state.connections):
            connection.shutdown()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.clients.append(writer)
        return reader, writer


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    config = Config(service.answer, interface="asgi3", lifespan="off", log_config=None)
    config.load()
    make = partial(service.protocol, config=config, server_state=service.state, app_state={})
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    service.port = server.sockets[0].getsockname()[1]
    yield service
    server.close()
    for client in service.clients:
        client.close()
        await client.wait_closed()
    while service.state.connections:  # noqa: ASYNC110 - a set of Uvicorn's
        await asyncio.sleep(0)


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    """The head of an answer, whose body is read too."""
    head = await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(2) == b"ok"
    return head


async def test_request_after_the_stop_is_answered_with_close(service: Service) -> None:
    reader, writer = await service.connect()
    writer.write(GET)
    assert b"connection: close" not in await read_answer(reader)
    service.stop()
    writer.write(GET)
    assert b"connection: close" in await read_answer(reader)
    assert await reader.read() == b""


async def test_started_answer_and_pipelined_request_complete(service: Service) -> None:
    reader, writer = await service.connect()
    service.allowed.clear()
    writer.write(GET)
    assert b"connection: close" not in await reader.readuntil(b"\r\n\r\n")
    service.stop()
    writer.write(GET)
    service.allowed.set()
    assert await reader.readexactly(2) == b"ok"
    assert b"connection: close" in await read_answer(reader)
    assert await reader.read() == b""


async def test_idle_connections_are_closed(service: Service) -> None:
    fresh, used = await service.connect(), await service.connect()
    used[1].write(GET)
    await read_answer(used[0])
    service.stop()
    late = await service.connect()  # as one that the kernel had accepted before the stop
    for reader, _ in (fresh, used, late):
        assert await reader.read() == b""
    assert service.state.connections == set()


@pytest.mark.parametrize("sent", [GET, GET[:5]], ids=["whole", "begun"])
async def test_unread_request_is_not_cut_off(service: Service, sent: bytes) -> None:
    reader, writer = await service.connect()
    writer.write(GET)
    await read_answer(reader)
    (connection,) = service.state.connections
    service.stop()
    plain = writer.get_extra_info("socket")
    os.write(plain.fileno(), sent)  # in the buffer; the loop has had no chance to read it
    connection.timeout_keep_alive_handler()  # type: ignore[union-attr]
    writer.write(GET[len(sent) :])
    assert b"connection: close" in await read_answer(reader)


async def test_a_head_that_has_begun_is_waited_for(service: Service) -> None:
    reader, writer = await service.connect()
    writer.write(GET[:5])
    other = await service.connect()
    other[1].write(GET)
    await read_answer(other[0])  # so the other's bytes were read as well
    service.stop()
    assert await other[0].read() == b""  # the time of idle ones is over
    writer.write(GET[5:])
    assert b"connection: close" in await read_answer(reader)


async def test_answer_before_the_body_ends_arrives_whole(service: Service) -> None:
    reader, writer = await service.connect()
    service.allowed.clear()
    writer.write(LONG + b"x" * 1000)
    await service.asked.wait()
    service.protocol.stopping = True
    other = await service.connect()
    other[1].write(LONG)
    service.allowed.set()
    assert b"connection: close" in await read_answer(other[0])
    other[1].write(b"x" * 4_000_000)  # a reset would come now, and take an answer that was not read with it
    await other[1].drain()
    assert await other[0].read() == b""
    await read_answer(reader)
