"""One process that serves requests: Uvicorn's server, and how it stops.

On a stop it accepts no new connections, answers pending requests, then closes; ``taskapi.web.http_protocol`` handles the
connections.
"""

import asyncio
import ctypes
import logging
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

import uvicorn

from taskapi.core.settings import Settings

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 30  # for requests to end
SAME_STOP_SECONDS = 0.2  # a terminal, timeout(1) or systemd may send two signals for one stop
HANDSHAKE_SECONDS = 0.2  # for pending handshakes to complete
MAX_ACCEPT_SECONDS = 2.0  # for accepting all pending connections
POLL_SECONDS = 0.02
CUT = 1  # the exit status if requests were cut off
SO_ATTACH_FILTER = 26  # socket(7); not defined by Python
# Classic BPF over the TCP header: load the flags (byte 13); drop the packet when SYN (2) is set; keep it whole.
NO_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


def options(settings: Settings, host: str, port: int) -> dict[str, Any]:
    """Uvicorn's options for every process of ``taskapi serve``."""
    return {
        "app": "taskapi.main:app",
        "http": "taskapi.web.http_protocol:HttpProtocol",
        "host": host,
        "port": port,
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,  # the application reads them
        "timeout_keep_alive": settings.keep_alive_seconds,
        "timeout_graceful_shutdown": SHUTDOWN_SECONDS,
    }


def refuse_new_connections(listener: socket.socket) -> None:
    """Makes Linux drop new handshakes from now on, in every process that shares ``listener``.

    Closing a listener resets connections that wait to be accepted. With this they can all be accepted first. A client that
    connects meanwhile retries after a second, when the port is closed or open again.
    """
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in NO_SYN))
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox without filters: connections may still be reset between the last accept and the close
            listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(NO_SYN), ctypes.addressof(code)))


class Server(uvicorn.Server):
    """Stops within 30 s of the first signal. After that, or at a second signal, ``cut`` ends the process."""

    def __init__(self, config: uvicorn.Config, cut: Callable[[int], NoReturn]) -> None:
        super().__init__(config)
        self._cut = cut
        self._asked_at = 0.0

    def owns_listener(self) -> bool:
        """Whether no other process continues to accept connections from the listener."""
        return True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handles a stop signal."""
        if not self.should_exit:
            self.should_exit, self._asked_at = True, time.monotonic()
        elif time.monotonic() - self._asked_at > SAME_STOP_SECONDS:
            self.end_at_once(f"a second {signal.Signals(sig).name}")

    def end_at_once(self, why: str) -> NoReturn:
        """Ends the process without waiting for its requests. The exit status says whether there were any."""
        from taskapi.web.http_protocol import HttpProtocol  # imports Starlette, which the parent of workers does not need

        cut = sum(isinstance(each, HttpProtocol) and each.is_busy() for each in self.server_state.connections)
        log.error("%s: %d requests were cut off", why, cut)
        self._cut(CUT if cut else 0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accepts no new connections, waits for pending requests, and ends the application."""
        from taskapi.web.http_protocol import HttpProtocol

        log.info("Shutting down")
        HttpProtocol.stopping = True
        for connection in list(self.server_state.connections):
            connection.shutdown()
        listeners = [socket.socket(fileno=os.dup(each.fileno())) for server in self.servers for each in server.sockets]
        if self.owns_listener():
            for listener in listeners:
                refuse_new_connections(listener)
        await _accept_pending(listeners)
        for server in self.servers:
            server.close()
        for each in [*listeners, *(sockets or [])]:
            each.close()
        try:
            async with asyncio.timeout(SHUTDOWN_SECONDS):
                while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110 - sets of Uvicorn's
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            self.end_at_once(f"requests did not end within {SHUTDOWN_SECONDS} s of the stop")
        await self.lifespan.shutdown()


async def _accept_pending(listeners: Sequence[socket.socket]) -> None:
    """Waits until the event loop has accepted the pending connections and handshakes of ``listeners``."""
    waiting = select.poll()
    for listener in listeners:
        waiting.register(listener.fileno(), select.POLLIN)
    began = now = time.monotonic()
    while now - began < HANDSHAKE_SECONDS or (waiting.poll(0) and now - began < MAX_ACCEPT_SECONDS):
        await asyncio.sleep(POLL_SECONDS)
        now = time.monotonic()
