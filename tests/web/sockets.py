"""A server of WebSockets in this process, and those who connect to it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from uvicorn import Config
from uvicorn.server import ServerState
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from taskapi.db.driver_threads import threads
from taskapi.web.http_protocol import HttpProtocol
from taskapi.web.http_upgrade import SOCKETS
from taskapi.web.load import Load
from taskapi.web.socket_context import SocketContext
from tests.tools import PATIENCE_SECONDS

APP = "https://app.example.com"
KEY = "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg=="
OFFER = ["Host: a", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", KEY]
BIG = "x" * 50_000
CHORUS = 400


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
            elif text == "chorus":
                await asyncio.gather(*(send({"type": "websocket.send", "text": BIG}) for _ in range(CHORUS)))
            elif text is not None:
                await send({"type": "websocket.send", "text": text})


@asynccontextmanager
async def serving() -> AsyncIterator[Service]:
    """The server, until all its connections and their tasks have ended."""
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
    async with asyncio.timeout(PATIENCE_SECONDS):
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
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - what Uvicorn does fires no event
            await asyncio.sleep(0.01)


def mute(wire: ClientConnection) -> None:
    """Reads nothing from the connection any more."""
    wire.transport.pause_reading()
