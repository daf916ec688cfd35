"""Connecting to the WebSocket of events, on a server in this process."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import FastAPI
from jsonschema_rs import Draft202012Validator
from uvicorn import Config
from uvicorn.server import ServerState
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from taskapi.events.asyncapi import describe
from taskapi.events.routes.socket import PATH, SUBPROTOCOL
from taskapi.web.http_protocol import HttpProtocol
from taskapi.web.http_upgrade import SOCKETS
from tests.client import Account
from tests.tools import PATIENCE_SECONDS

quiet = logging.getLogger(__name__)
quiet.setLevel(logging.WARNING)  # the client would log the tokens that it sends

DOCUMENT = describe("taskapi", "0")
VALIDATORS = {
    name: Draft202012Validator({**message["payload"], "components": DOCUMENT["components"]})
    for name, message in DOCUMENT["components"]["messages"].items()
}


@dataclass(frozen=True)
class Wire:
    """One connection, whose server says nothing but what the AsyncAPI document describes."""

    connection: ClientConnection

    async def send(self, kind: str, **members: Any) -> None:
        await self.connection.send(json.dumps({"type": kind, **members}))

    async def receive(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            message: dict[str, Any] = json.loads(await self.connection.recv())
        VALIDATORS[message["type"]].validate(message)
        return message

    async def expect(self, kind: str, **members: Any) -> dict[str, Any]:
        """The next message, which is of this kind and has these members."""
        message = await self.receive()
        assert message["type"] == kind, message
        assert {name: message.get(name) for name in members} == members
        return message

    async def subscribe(self, subscription: str = "s", **members: Any) -> str:
        """The position where a new subscription begins."""
        await self.send("subscribe", id=subscription, **members)
        return str((await self.expect("subscribed", id=subscription))["position"])

    async def event(self, subscription: str = "s") -> dict[str, Any]:
        """The next message, which is an event of this subscription."""
        return dict((await self.expect("event", subscription=subscription))["event"])

    async def closing(self) -> tuple[int | None, str | None]:
        """How the server ends the connection, after whatever it still sends."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            with suppress(ConnectionClosed):
                async for _ in self.connection:
                    pass
        return self.connection.close_code, self.connection.close_reason


@dataclass(frozen=True)
class Sockets:
    """The server."""

    port: int
    state: ServerState

    @asynccontextmanager
    async def open(self, query: str = "", **options: Any) -> AsyncIterator[Wire]:
        async with connect(f"ws://127.0.0.1:{self.port}{PATH}{query}", logger=quiet, **options) as connection:
            yield Wire(connection)

    @asynccontextmanager
    async def of(self, account: Account) -> AsyncIterator[Wire]:
        """A connection of this account that is ready."""
        offered = [Subprotocol(SUBPROTOCOL), Subprotocol(account.token)]
        async with self.open(subprotocols=offered) as wire:
            await wire.expect("ready")
            yield wire


@asynccontextmanager
async def serving_sockets(app: FastAPI) -> AsyncIterator[Sockets]:
    """The application on a port, until all connections and their tasks have ended."""
    config = Config(app, lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    make = partial(HttpProtocol, config=config, server_state=state, app_state={SOCKETS: frozenset({PATH})})
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    try:
        yield Sockets(server.sockets[0].getsockname()[1], state)
    finally:
        server.close()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while state.connections or state.tasks:  # noqa: ASYNC110 - sets of Uvicorn's
                await asyncio.sleep(0.01)
