"""One of several processes that answer, as ``taskapi.cli.supervisor`` starts them."""

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
    """Serves ``listener`` until SIGTERM; sends ``heartbeat`` a byte per second once it is ready."""
    for number in (signal.SIGINT, signal.SIGHUP):  # of a terminal they come to all processes; the parent decides
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
        """When the parent was killed, else the parent sees to it."""
        return os.getppid() != self._parent

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Requests one stop; the parent decides about any other."""
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second by the loop that serves."""
        if counter % 10 == 0:
            with suppress(BlockingIOError, BrokenPipeError):
                os.write(self._heartbeat.fileno(), b".")
        return await super().on_tick(counter)
