"""One of several worker processes, started by ``taskapi.cli.supervisor``."""

import os
import signal
import socket
from contextlib import suppress
from multiprocessing.connection import Connection
from types import FrameType
from typing import NoReturn

import uvicorn

from taskapi.cli.server import Server
from taskapi.db import child_process


def run(config: uvicorn.Config, listener: socket.socket, heartbeat: Connection, parent: int) -> None:
    """Serves ``listener`` until SIGTERM. Once ready, writes a byte per second to ``heartbeat``."""
    for number in (signal.SIGINT, signal.SIGHUP):  # a terminal sends them to all processes; the parent decides
        signal.signal(number, signal.SIG_IGN)
    child_process.die_with_parent(signal.SIGTERM, parent)
    os.set_blocking(heartbeat.fileno(), False)
    _Worker(config, heartbeat, parent).run([listener])


def _cut(status: int) -> NoReturn:
    os._exit(status)


class _Worker(Server):
    def __init__(self, config: uvicorn.Config, heartbeat: Connection, parent: int) -> None:
        super().__init__(config, _cut)
        self._heartbeat, self._parent = heartbeat, parent

    def owns_listener(self) -> bool:
        """Only if the parent was killed; otherwise the parent closes the listener."""
        return os.getppid() != self._parent

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Requests a stop. Only the parent can force it."""
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second while the server runs."""
        if counter % 10 == 0:
            with suppress(BlockingIOError, BrokenPipeError):
                os.write(self._heartbeat.fileno(), b".")
        return await super().on_tick(counter)
