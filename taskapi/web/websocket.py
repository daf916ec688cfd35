"""One WebSocket of a client, as ASGI has it."""

from contextlib import suppress

from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send


class Disconnected(Exception):
    """The client has gone, or the connection was closed."""


class WebSocket(HTTPConnection):
    """A connection whose messages are text. Starlette's refuses to be used by several tasks once the client has gone."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope)
        self._receive, self._send = receive, send

    @property
    def subprotocols(self) -> list[str]:
        """What the client offers."""
        offered: list[str] = self.scope["subprotocols"]
        return offered

    async def accept(self, subprotocol: str | None) -> None:
        """Completes the handshake. Raises Disconnected."""
        await self._send_message({"type": "websocket.accept", "subprotocol": subprotocol})

    async def receive(self) -> str | None:
        """The next message of the client; None for a binary one. Raises Disconnected."""
        message = await self._receive()
        while message["type"] == "websocket.connect":
            message = await self._receive()
        if message["type"] == "websocket.disconnect":
            raise Disconnected
        text: str | None = message.get("text")
        return text

    async def send(self, text: str) -> None:
        """Sends a message, once the client has read enough of what came before. Raises Disconnected."""
        await self._send_message({"type": "websocket.send", "text": text})

    async def close(self, code: int, reason: str) -> None:
        """Closes the connection, if it is still open."""
        with suppress(Disconnected):
            await self._send_message({"type": "websocket.close", "code": code, "reason": reason})

    async def _send_message(self, message: dict[str, object]) -> None:
        try:
            await self._send(message)
        except OSError:
            raise Disconnected from None
