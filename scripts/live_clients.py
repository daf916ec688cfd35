"""Clients that keep a copy of an account's tasks, each in another way: event stream, WebSocket, or delta sync."""

import asyncio
import json
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
from live_copy import Copy
from live_writers import Owner
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

SILENCE_SECONDS = 40  # a stream sends a heartbeat each 15 s
CALL_SECONDS = 20
RETRY_SECONDS = 0.5
CLOSING_SECONDS = 2
WINDOW = 50  # events that may come before the first of them is acknowledged


@dataclass
class Client(ABC):
    """One client of one account; ``follow`` runs until it is cancelled."""

    url: str
    owner: Owner
    copy: Copy
    http: httpx.AsyncClient

    async def follow(self) -> None:
        """Loads all tasks, then follows what happens, and connects again whenever that ends."""
        position = await self.load()
        while True:
            try:
                async for position in self.read(position):  # noqa: B007, B020
                    pass
            except (httpx.TransportError, WebSocketException, OSError, TimeoutError, json.JSONDecodeError):
                self.copy.failures += 1
            await asyncio.sleep(RETRY_SECONDS)

    @abstractmethod
    def read(self, position: str) -> AsyncIterator[str]:
        """One connection: takes note of what is told, and yields each position that was reached."""

    async def load(self) -> str:
        """Loads all tasks. Returns the position from which nothing is missed."""
        while True:
            begun = time.monotonic()
            events, position = await self.changes(None)
            if position is not None:
                self.copy.reload(begun, events)
                return position

    async def changes(self, since: str | None) -> tuple[list[dict[str, Any]], str | None]:
        """All that has changed since a position, and the next one; None in its place if that is no longer known."""
        events = list[dict[str, Any]]()
        while True:
            query = {"limit": "200"} | ({} if since is None else {"since": since})
            answer = None
            with suppress(httpx.TransportError):
                answer = await self.http.get("/tasks/changes", params=query, headers=self.owner.headers, timeout=CALL_SECONDS)
            if answer is not None and answer.status_code == 410:
                return events, None
            if answer is None or answer.status_code != 200:
                self.copy.failures += 1
                await asyncio.sleep(RETRY_SECONDS)
                continue
            page = answer.json()
            events += page["changes"]
            since = page["next"]
            if not page["more"]:
                return events, since

    async def reset(self, reason: str, position: str) -> str:
        """Loads everything anew, and goes on from the position that the reset came with."""
        self.copy.resets.append(reason)
        await self.load()
        return position


class StreamClient(Client):
    """Follows ``GET /events/stream``."""

    async def read(self, position: str) -> AsyncIterator[str]:
        headers = {**self.owner.headers, "Accept": "text/event-stream", "Last-Event-ID": position}
        patience = httpx.Timeout(CALL_SECONDS, read=SILENCE_SECONDS)
        async with self.http.stream("GET", "/events/stream", headers=headers, timeout=patience) as answer:
            if answer.status_code != 200:
                raise httpx.ReadError(f"status {answer.status_code}")
            async for name, text, data in messages(answer):
                if name == "end":
                    return
                if name == "reset":
                    yield await self.reset(json.loads(data)["reason"], text)
                    continue
                if name != "hello":
                    self.copy.apply(json.loads(data))
                yield text


async def messages(answer: httpx.Response) -> AsyncIterator[tuple[str, str, str]]:
    """The name, id and data of each message of an event stream."""
    fields = dict[str, str]()
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        else:
            if "data" in fields:
                yield fields.get("event", "message"), fields.get("id", ""), fields["data"]
            fields = {}


class SocketClient(Client):
    """Follows ``/events/ws``."""

    async def read(self, position: str) -> AsyncIterator[str]:
        url = self.url.replace("http", "ws", 1) + "/events/ws"
        async with connect(url, open_timeout=CALL_SECONDS, close_timeout=CLOSING_SECONDS, ping_interval=None) as socket:
            await socket.send(json.dumps({"type": "authenticate", "token": self.owner.token}))
            await socket.send(json.dumps({"type": "subscribe", "id": "all", "since": position, "window": WINDOW}))
            while True:
                message = await self.next(socket)
                if message["type"] == "event":
                    position = message["event"]["id"]
                    self.copy.apply(message["event"])
                    await socket.send(json.dumps({"type": "ack", "id": "all", "position": position}))
                    yield position
                elif message["type"] == "reset":
                    yield await self.reset(message["reason"], message["position"])
                elif message["type"] in ("subscribed", "heartbeat"):
                    yield message["position"]
                elif message["type"] == "error":
                    raise OSError(message["message"])

    async def next(self, socket: Any) -> Mapping[str, Any]:
        """The next message; a connection that is silent for long is asked whether it is there."""
        try:
            text = await asyncio.wait_for(socket.recv(), SILENCE_SECONDS / 2)
        except TimeoutError:
            await socket.send(json.dumps({"type": "ping"}))
            text = await asyncio.wait_for(socket.recv(), SILENCE_SECONDS / 2)
        message: Mapping[str, Any] = json.loads(text)
        return message


class DeltaClient(Client):
    """Asks ``GET /tasks/changes`` every few seconds."""

    pause = 3.0

    async def read(self, position: str) -> AsyncIterator[str]:
        while True:
            events, reached = await self.changes(position)
            for event in events:
                self.copy.apply(event)
            if reached is None:
                reached = await self.reset("position_expired", await self.load())
            position = reached
            yield position
            await asyncio.sleep(self.pause)
