"""A receiver of webhooks on loopback: a real web server, good or bad as a test wants."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.tools import PATIENCE_SECONDS

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine"


def answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{lines}\r\n".encode() + body


@dataclass
class Received:
    """A request that a receiver has taken."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.body))

    @property
    def data(self) -> dict[str, Any]:
        return dict(self.json["data"])


@dataclass
class Receiver:
    """What it has taken. ``answers`` are sent in turn, then ``OK``; with ``hang``, none until it is set free."""

    base: str = ""
    taken: list[Received] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    always: bytes = OK
    free: asyncio.Event = field(default_factory=asyncio.Event)
    close_after: bool = False
    in_flight: int = 0
    most: int = 0

    def __post_init__(self) -> None:
        self.free.set()
        self._changed = asyncio.Event()

    @property
    def url(self) -> str:
        return f"{self.base}/hook"

    def hang(self) -> None:
        self.free.clear()

    async def until(self, condition: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError([(each.json["type"], each.data.get("version")) for each in self.taken]) from None

    async def events(self, number: int) -> list[dict[str, Any]]:
        """The events of tasks that it has taken, when there are so many."""
        await self.until(lambda: len(self._events()) >= number)
        return self._events()

    def _events(self) -> list[dict[str, Any]]:
        return [each.data for each in self.taken if each.json["type"].startswith("task.")]

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readline():
                path, headers = head.split()[1].decode(), {}
                while (line := await reader.readline()).strip():
                    name, _, value = line.decode().partition(":")
                    headers[name.lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self.in_flight += 1
                self.most = max(self.most, self.in_flight)
                self.taken.append(Received(path, headers, body))
                self._changed.set()
                try:
                    await self.free.wait()
                finally:
                    self.in_flight -= 1
                writer.write(self.answers.pop(0) if self.answers else self.always)
                await writer.drain()
                if self.close_after:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    here, open_ = Receiver(), set[asyncio.Task[None]]()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(here.accept(reader, writer))
        open_.add(task)
        await asyncio.wait([task])
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    here.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield here
    finally:
        here.free.set()
        for task in [*open_]:
            task.cancel()
        await asyncio.gather(*open_, return_exceptions=True)
        server.close()
