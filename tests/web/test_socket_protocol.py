"""WebSockets on the wire, hostile ones first: what is no message, too much of it, who neither reads nor answers."""

import asyncio
import logging
import os
import secrets
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

from taskapi.db.driver_threads import threads
from taskapi.web import socket_protocol
from taskapi.web.http_protocol import HttpProtocol
from taskapi.web.http_upgrade import SOCKETS
from taskapi.web.load import Load
from taskapi.web.socket_context import SocketContext
from taskapi.web.socket_protocol import MAX_FRAGMENTS, MAX_MESSAGE_BYTES

APP = "https://app.example.com"
KEY = "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg=="
OFFER = ["Host: a", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", KEY]
BIG = "x" * 50_000


class Service:
    """A server in this process that answers messages with themselves, or as they ask."""

    def __init__(self) -> None:
        self.state, self.port = ServerState(), 0
        self.received: list[Any] = []
        self.ended: asyncio.Queue[int] = asyncio.Queue()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/echo"

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})
            return
        await send({"type": "websocket.accept"})
        while True:
            message = await receive()
            self.received.append(message)
            if message["type"] == "websocket.disconnect":
                self.ended.put_nowait(message["code"])
                return
            text = message.get("text")
            if text == "fail":
                raise ValueError("on purpose")
            if text == "leave":
                return
            if text == "close":
                await send({"type": "websocket.close", "code": 4401, "reason": "because"})
            elif text == "flood":
                while True:
                    await send({"type": "websocket.send", "text": BIG})
            elif text is not None:
                await send({"type": "websocket.send", "text": text})


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    app = SocketContext(service.answer, Load(threads), [APP])
    config = Config(app, interface="asgi3", lifespan="off", log_config=None)
    config.load()
    state = {SOCKETS: frozenset({"/echo"})}
    make = partial(HttpProtocol, config=config, server_state=service.state, app_state=state)
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    service.port = server.sockets[0].getsockname()[1]
    yield service
    server.close()
    await until(lambda: not service.state.connections and not service.state.tasks)


async def closing(wire: ClientConnection) -> tuple[int, str]:
    """How the server ends the connection."""
    async with asyncio.timeout(10):
        with suppress(ConnectionClosed):
            async for _ in wire:
                pass
    assert wire.close_code is not None
    return wire.close_code, wire.close_reason or ""


async def shake_hands(
    service: Service, *lines: str, path: str = "/echo"
) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
    """The head of the answer to a handshake of these lines, and the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write("\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode())
    return await reader.readuntil(b"\r\n\r\n"), reader, writer


def masked(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin=fin).serialize(mask=True)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what Uvicorn does fires no event
            await asyncio.sleep(0.01)


def mute(wire: ClientConnection) -> None:
    """Reads nothing from the connection any more."""
    wire.transport.pause_reading()


async def test_messages_pass(service: Service) -> None:
    async with connect(service.url) as wire:
        for text in ("hello", "", "ünï", "x" * MAX_MESSAGE_BYTES):
            await wire.send(text)
            assert await wire.recv() == text
        assert wire.response is not None
        assert wire.response.headers["x-request-id"]
        assert "sec-websocket-extensions" not in wire.response.headers
    assert await service.ended.get() == 1000


async def test_code_and_reason_arrive(service: Service) -> None:
    async with connect(service.url) as wire:
        await wire.send("close")
        assert await closing(wire) == (4401, "because")


@pytest.mark.parametrize("text", ["leave", "fail"])
async def test_an_application_that_ends_closes(service: Service, caplog: pytest.LogCaptureFixture, text: str) -> None:
    async with connect(service.url) as wire:
        await wire.send(text)
        if text == "fail":
            assert await closing(wire) == (1011, "internal_error")
            assert "unexpected error" in caplog.text
        else:
            with pytest.raises(ConnectionClosed):
                await wire.recv()


@pytest.mark.parametrize("size", [MAX_MESSAGE_BYTES + 1, 1_000_000, 20_000_000])
async def test_a_large_message_is_refused(service: Service, size: int) -> None:
    _, reader, writer = await shake_hands(service, *OFFER)
    writer.write(masked(Opcode.TEXT, b"x" * size))
    frame = await reader.read()
    assert (frame[0], frame[2:4]) == (0x88, struct.pack("!H", 1009))
    writer.close()
    assert await service.ended.get() == 1009
    assert [message["type"] for message in service.received] == ["websocket.connect", "websocket.disconnect"]


async def test_a_large_message_in_parts_is_refused(service: Service) -> None:
    async with connect(service.url) as wire:
        sending = asyncio.create_task(wire.send(["x" * 1000] * 70))
        assert (await closing(wire))[0] == 1009
        await asyncio.gather(sending, return_exceptions=True)


async def test_empty_parts_without_end_are_refused(service: Service) -> None:
    async with connect(service.url) as wire:
        wire.transport.write(masked(Opcode.TEXT, b"", fin=False) + masked(Opcode.CONT, b"", fin=False) * (MAX_FRAGMENTS + 1))
        assert (await closing(wire))[0] == 1009


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (b"\x81\x05hello", 1002),  # not masked
        (masked(Opcode.CONT, b"x"), 1002),
        (b"\xf1" + masked(Opcode.TEXT, b"x")[1:], 1002),  # reserved bits
        (b"\x83" + masked(Opcode.TEXT, b"x")[1:], 1002),  # reserved opcode
        (masked(Opcode.TEXT, b"\xff\xfe"), 1007),
        (masked(Opcode.CLOSE, b"\x00"), 1002),
        (masked(Opcode.CLOSE, struct.pack("!H", 1005)), 1002),
        (b"GET / HTTP/1.1\r\n\r\n" * 10, 1002),
        (b"\x89\xfe\x01\x00" + 300 * b"x", 1002),  # a ping that is too long
    ],
    ids=["unmasked", "continuation", "bits", "opcode", "utf-8", "close", "code", "http", "ping"],
)
async def test_what_is_no_frame_is_refused(service: Service, frames: bytes, code: int) -> None:
    async with connect(service.url) as wire:
        wire.transport.write(frames)
        assert (await closing(wire))[0] == code
    assert await service.ended.get() == code


@pytest.mark.parametrize("path", ["/echo/more", "/", "/tasks", "/echo%2F", "//echo"])
async def test_other_paths_are_served_as_http(service: Service, path: str) -> None:
    head, _, writer = await shake_hands(service, *OFFER, path=path)
    assert head.startswith(b"HTTP/1.1 200 ")
    writer.close()


@pytest.mark.parametrize("path", ["/echo", "/echo/", "/echo?ticket=tkt_x"])
async def test_the_path_takes_websockets(service: Service, path: str) -> None:
    head, _, writer = await shake_hands(service, *OFFER, path=path)
    assert head.startswith(b"HTTP/1.1 101 ")
    writer.close()


@pytest.mark.parametrize("changes", [{KEY: "X: y"}, {KEY: "Sec-WebSocket-Key: short"}, {OFFER[3]: "Sec-WebSocket-Version: 8"}])
async def test_an_incomplete_handshake_is_http(service: Service, changes: dict[str, str]) -> None:
    head, _, writer = await shake_hands(service, *(changes.get(line, line) for line in OFFER))
    assert head.startswith(b"HTTP/1.1 200 ")
    writer.close()


@pytest.mark.parametrize("more", [[f"X-{number}: y" for number in range(200)], ["X: " + 9000 * "y"]], ids=["many", "long"])
async def test_heads_beyond_its_limits_are_refused(service: Service, more: list[str]) -> None:
    head, reader, writer = await shake_hands(service, *OFFER, *more)
    assert head.startswith(b"HTTP/1.1 431 ")
    assert await reader.read() != b"x"
    writer.close()


@pytest.mark.parametrize("origin", ["https://evil.example", f"{APP}.evil.example", "null", "http://app.example.com", ""])
async def test_pages_of_other_origins_are_refused(service: Service, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(service.url, additional_headers={"Origin": origin})
    response = refused.value.response
    assert (response.status_code, response.headers["content-type"]) == (403, "application/problem+json")
    assert b'"error":"origin_refused"' in (response.body or b"")


async def test_pages_of_allowed_origins_are_admitted(service: Service) -> None:
    proxied = {"Origin": "https://tasks.example:8443", "X-Forwarded-Host": "tasks.example:8443"}
    for headers in ({"Origin": APP}, {"Origin": f"http://127.0.0.1:{service.port}"}, proxied):
        async with connect(service.url, additional_headers=headers) as wire:
            await wire.send("hello")
            assert await wire.recv() == "hello"


async def test_the_query_is_not_logged(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    secret = f"tkt_{secrets.token_hex(16)}"
    with caplog.at_level(logging.DEBUG):
        async with connect(f"{service.url}?ticket={secret}", additional_headers={"Authorization": secret}) as wire:
            await wire.send(secret)
            await wire.recv()
        await service.ended.get()
        await until(lambda: "taskapi.access" in {record.name for record in caplog.records})
    lines = [record for record in caplog.records if not record.name.startswith("websockets.client")]
    assert not [line for line in lines if secret in line.getMessage() or secret in str(line.__dict__.get("fields"))]
    (access,) = [line.__dict__["fields"] for line in lines if line.name == "taskapi.access"]
    assert (access["path"], access["status"], access["closed"]) == ("/echo", 101, 1000)


async def test_one_who_does_not_read_waits(service: Service) -> None:
    async with connect(service.url) as wire:
        mute(wire)
        await wire.send("flood")
        (connection,) = service.state.connections
        assert isinstance(connection, socket_protocol.SocketProtocol)
        await until(lambda: not connection.writable.is_set())
        before = connection.transport.get_write_buffer_size()
        for _ in range(1000):
            wire.transport.write(masked(Opcode.PING, os.urandom(125)))
        await until(lambda: connection._owed_pong)
        assert connection.transport.get_write_buffer_size() == before < 2 * len(BIG) + 65_536
        wire.transport.abort()
    await until(lambda: not service.state.connections)


async def test_who_answers_no_ping_is_cut_off(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_protocol, "PING_SECONDS", 0.1)
    head, reader, writer = await shake_hands(service, *OFFER)
    assert head.startswith(b"HTTP/1.1 101 ")
    frames = await reader.read()
    assert frames[0] == 0x89
    assert frames.endswith(struct.pack("!H", 1011) + b"keepalive ping timeout")
    writer.close()


async def test_a_stop_ends_every_connection(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_protocol, "LINGER_SECONDS", 0.2)
    async with connect(service.url) as wire, connect(service.url) as deaf:
        await deaf.send("flood")
        mute(deaf)
        await wire.send("hello")
        await wire.recv()
        for connection in list(service.state.connections):
            connection.shutdown()
        assert await closing(wire) == (1001, "server_stopping")
        await until(lambda: not service.state.connections)
        deaf.transport.abort()
    assert await service.ended.get() == 1001
