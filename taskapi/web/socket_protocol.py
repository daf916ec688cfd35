"""WebSocket on the wire (RFC 6455): Uvicorn's protocol, with limits, and with nothing of a connection in the log.

``HttpProtocol`` hands a connection over when its handshake is complete.
"""

import asyncio
import logging
from typing import Any, Final

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame

from taskapi.web.http_lean import LeanEvent, LeanMessages

MAX_MESSAGE_BYTES: Final = 64 * 1024  # of a client
MAX_FRAGMENTS: Final = 256  # of a message: empty ones count nothing towards its size
PING_SECONDS: Final = 20.0  # between two pings, and for the answer to one
LINGER_SECONDS: Final = 2.0  # that a client may go on sending after the end: a reset would take the close code away from it

# Uvicorn logs the query, which may be a ticket, and websockets logs headers and messages. No configuration knows this logger.
wire = logging.Logger(f"{__name__}.wire", logging.CRITICAL + 1)


class SocketProtocol(WebSocketsSansIOProtocol):
    """Uvicorn's protocol with limits.

    The messages of a client are read one by one, as the application takes them, and not compressed: each compressed connection
    would cost tens of KiB. While a client does not read, the application waits, and of its pings the last one is answered.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.logger = wire
        self.queue, self.writable = LeanMessages(), LeanEvent()  # type: ignore[assignment]
        self.writable.set()
        self.conn.max_message_size, self.conn.available_extensions = MAX_MESSAGE_BYTES, None
        self.conn.logger, self.conn.debug = wire, False
        self.ping_interval = self.ping_timeout = PING_SECONDS
        self._owed_pong = b""
        self._is_broken = False  # what still comes is thrown away

    def data_received(self, data: bytes) -> None:
        """Parses received bytes; called by the event loop."""
        if self._is_broken:
            return
        super().data_received(data)
        if self.conn.handshake_exc and not self.handshake_initiated:  # the head is longer than websockets takes: 431
            self._is_broken = True
            self._write()
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cleans up after a connection; called by the event loop."""
        super().connection_lost(exc)
        self.frames.clear()
        self.conn.parser = iter(())  # type: ignore[assignment]  # it refers to the connection, which would stay in memory

    def resume_writing(self) -> None:
        """Goes on when the client has read; called by the event loop."""
        super().resume_writing()
        if self._owed_pong and not self.close_sent:
            self.transport.write(self._owed_pong)
        self._owed_pong = b""

    def handle_ping(self) -> None:
        """Answers a ping."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self._owed_pong = b"".join(self.conn.data_to_send()) or self._owed_pong

    def handle_cont(self, event: Frame) -> None:
        """Takes a part of a message."""
        if len(self.frames) < MAX_FRAGMENTS:
            super().handle_cont(event)
        else:
            self.close(CloseCode.MESSAGE_TOO_BIG, "too many fragments")

    def handle_close(self, event: Frame) -> None:
        """Ends the connection because the client does. It may leave unread what was sent."""
        super().handle_close(event)
        self._abort_later()

    def eof_received(self) -> None:
        """Ends the connection of a client that sends nothing more; called by the event loop."""
        self._abort_later()

    def keepalive_timeout(self) -> None:
        """Ends the connection of a client that has answered no ping; it may not read at all."""
        self.pong_timer = None
        if not self.close_sent and not self.transport.is_closing():
            self.conn.fail(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")
            self.handle_parser_exception()

    def handle_parser_exception(self) -> None:
        """Ends the connection because what came breaks the protocol, or a limit."""
        self._is_broken = True
        told = self.conn.close_sent
        self._disconnect(*((told.code, told.reason) if told else (CloseCode.ABNORMAL_CLOSURE, "")))
        if self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()

    def shutdown(self) -> None:
        """Ends the connection at once; called by the server when it stops."""
        if self.handshake_complete:
            self.close(CloseCode.GOING_AWAY, "server_stopping")
        else:
            self.send_500_response()
            self.transport.close()
        self._abort_later()

    def close(self, code: int, reason: str) -> None:
        """Ends the connection, unless it has ended: tells the client, and the application."""
        if not self.close_sent and not self.disconnected and not self.transport.is_closing():
            self.conn.send_close(code, reason)
            self._disconnect(code, reason)

    def on_task_complete(self, task: "asyncio.Task[None]") -> None:
        """Ends the connection of an application that has left it open."""
        super().on_task_complete(task)
        self._abort_later()

    async def send(self, message: ASGISendEvent) -> None:
        """Sends a message of the application, as soon as the client has read enough. Raises ClientDisconnected."""
        if not self.handshake_complete:
            await super().send(message)
            if self.request:  # not a second message: the parser keeps it, for as long as the connection lasts
                self.request.headers.clear()
            self.request = self.response = None  # type: ignore[assignment]
        elif message["type"] == "websocket.close":
            self.close(message.get("code", CloseCode.NORMAL_CLOSURE), message.get("reason") or "")
        elif message["type"] == "websocket.send":
            while not self.writable.is_set():  # of several that wait, the first to go on may fill the buffer again
                await self.writable.wait()
            if self.disconnected or self.close_sent or self.transport.is_closing():
                raise ClientDisconnected
            self.conn.send_text((message.get("text") or "").encode())
            self._write()
        else:
            raise RuntimeError(f"unexpected ASGI message {message['type']}")

    def _disconnect(self, code: int, reason: str) -> None:
        """Tells the application that it is over, and the client what the protocol has to say."""
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self._write()
        self.close_sent = True
        self.frames.clear()
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self._abort_later()

    def _abort_later(self) -> None:
        """Gives the client a moment to read what was sent, and to answer. Without this, one that does not read stays for ever."""
        if self.close_timer is None and not self.disconnected:
            self.close_timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _write(self) -> None:
        self.transport.write(b"".join(self.conn.data_to_send()))
