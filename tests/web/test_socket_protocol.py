"""WebSockets on the wire, hostile ones first: what is no message, too much of it, who neither reads nor answers."""

import asyncio
import gc
import logging
import os
import secrets
import struct
from collections.abc import AsyncIterator, Mapping

import pytest
from starlette.datastructures import Headers
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Opcode
from websockets.http11 import Request

from taskapi.web import socket_protocol
from taskapi.web.socket_protocol import MAX_FRAGMENTS, MAX_MESSAGE_BYTES
from tests.web.sockets import BIG, CHORUS, OFFER, Service, closing, masked, mute, serving, shake_hands, until


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving() as served:
        yield served


async def test_messages_pass(service: Service) -> None:
    async with connect(service.url) as wire:
        for text in ("hello", "", "ünï", "x" * MAX_MESSAGE_BYTES):
            await wire.send(text)
            assert await wire.recv() == text
        assert wire.response is not None
        assert wire.response.headers["x-request-id"]
        assert "sec-websocket-extensions" not in wire.response.headers
    assert await service.ended.get() == 1000


async def test_neither_parser_nor_context_keep_a_token(service: Service) -> None:
    token = f"Bearer {secrets.token_hex()}"
    _, reader, writer = await shake_hands(service, *OFFER, f"Authorization: {token}")
    writer.write(masked(Opcode.TEXT, b"hello"))
    assert (await reader.readexactly(7))[2:] == b"hello"
    headers: list[Mapping[str, str]] = [each for each in gc.get_objects() if type(each) is Headers]
    headers += [each.headers for each in gc.get_objects() if type(each) is Request]
    kept = [each.get("authorization") == token for each in headers]
    writer.close()
    assert not any(kept)


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


async def test_those_who_send_wait_for_each_other(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    write = socket_protocol.SocketProtocol._write

    def noted_write(protocol: socket_protocol.SocketProtocol) -> None:
        write(protocol)
        sizes.append(protocol.transport.get_write_buffer_size())

    monkeypatch.setattr(socket_protocol.SocketProtocol, "_write", noted_write)
    async with connect(service.url, max_queue=1) as wire:
        mute(wire)
        await wire.send("chorus")
        (connection,) = service.state.connections
        assert isinstance(connection, socket_protocol.SocketProtocol)
        await until(lambda: not connection.writable.is_set())
        wire.transport.resume_reading()
        for _ in range(CHORUS):
            assert await wire.recv() == BIG
    assert 0 < max(sizes) < 2 * len(BIG) + 65_536


async def test_who_answers_no_ping_is_cut_off(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_protocol, "PING_SECONDS", 0.1)
    head, reader, writer = await shake_hands(service, *OFFER)
    assert head.startswith(b"HTTP/1.1 101 ")
    frames = await reader.read()
    assert frames[0] == 0x89
    assert frames.endswith(struct.pack("!H", 1011) + b"keepalive ping timeout")
    writer.close()


@pytest.mark.parametrize("how", ["silence", "close", "end"])
async def test_one_who_reads_nothing_goes(service: Service, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(socket_protocol, "LINGER_SECONDS", 0.2)
    monkeypatch.setattr(socket_protocol, "PING_SECONDS", 0.5 if how == "silence" else 20)
    _, reader, writer = await shake_hands(service, *OFFER)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(masked(Opcode.TEXT, b"flood"))
    (connection,) = service.state.connections
    assert isinstance(connection, socket_protocol.SocketProtocol)
    await until(lambda: not connection.writable.is_set())
    if how == "close":
        writer.write(masked(Opcode.CLOSE, b""))
    if how == "end":
        writer.write_eof()
    await until(lambda: not service.state.connections and not service.state.tasks)
    writer.close()
    assert reader


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
