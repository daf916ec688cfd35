"""Following a stream of events in process: httpx waits for the end of an answer, and this one has none."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlencode

from fastapi import FastAPI
from starlette.types import Message, Scope

from tests.tools import PATIENCE_SECONDS


class Sent(NamedTuple):
    """An event as it was sent."""

    name: str
    data: dict[str, Any]
    id: str | None


class Listening:
    """The answer to a request for events: its head, and what has come of it."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.ended = False
        self.went_away = asyncio.Event()
        self._change = asyncio.Condition()
        self._read = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message.get("body", b"")
            self.ended = not message.get("more_body", False)
        async with self._change:
            self._change.notify_all()

    async def receive(self) -> Message:
        await self.went_away.wait()
        return {"type": "http.disconnect"}

    async def begun(self) -> None:
        await self._wait_for(lambda: bool(self.body) or self.ended)

    async def next(self) -> Sent:
        """The next event; its comments and ``retry`` are left out."""
        while True:
            await self._wait_for(lambda: b"\n\n" in self.body[self._read :] or self.ended)
            block, found, _ = self.body[self._read :].partition(b"\n\n")
            assert found, f"the stream has ended: {self.body!r}"
            self._read += len(block) + 2
            fields = dict(line.split(": ", 1) for line in block.decode().splitlines() if not line.startswith(":"))
            if "event" in fields:
                return Sent(fields["event"], json.loads(fields["data"]), fields.get("id"))

    async def heartbeat_after(self, position: str | None) -> str:
        """The position of the first heartbeat that says another one."""
        found = re.compile(rb": heartbeat\nid: (\S+)\n\n")

        def others() -> list[str]:
            return [each.decode() for each in found.findall(self.body) if each.decode() != position]

        await self._wait_for(lambda: bool(others()))
        return others()[0]

    async def take(self, count: int) -> list[Sent]:
        return [await self.next() for _ in range(count)]

    async def end(self) -> None:
        await self._wait_for(lambda: self.ended)

    async def _wait_for(self, condition: Any) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), self._change:
            await self._change.wait_for(condition)


def scope_of(headers: Mapping[str, str], query: Mapping[str, str], **others: Any) -> Scope:
    path = "/events/stream"
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": urlencode(query).encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 50000),
        "server": ("taskapi", 80),
        **others,
    }


@asynccontextmanager
async def listening(app: FastAPI, headers: Mapping[str, str], **query: str) -> AsyncIterator[Listening]:
    """A request for events that has begun to be answered. Its task is over at the end, whatever has ended it."""
    listening = Listening()
    task = asyncio.create_task(app(scope_of(headers, query), listening.receive, listening.send))
    try:
        await listening.begun()
        yield listening
    finally:
        listening.went_away.set()
        if not listening.ended:
            task.cancel()
        await asyncio.wait([task], timeout=PATIENCE_SECONDS)
        assert task.done()
