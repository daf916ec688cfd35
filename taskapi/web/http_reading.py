"""Reading connections: how many, how much, whether bytes are waiting, and a slower pace for bytes that are discarded."""

import asyncio
import fcntl
import resource
import termios

from uvicorn.protocols.http.flow_control import FlowControl

PAUSE_SECONDS = 0.04  # between two reads of up to 256 KiB; the system collects what comes meanwhile

MAX_CONNECTIONS = 10_000
FILES_FOR_OTHERS = 400  # of those that the process may open: the database, files, links


def max_connections() -> int:
    """How many connections a worker may have."""
    return max(100, min(MAX_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - FILES_FOR_OTHERS))


def has_unread(transport: asyncio.Transport) -> bool:
    """Whether there are received bytes that were not read yet."""
    if transport.is_closing():
        return False
    count = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.FIONREAD, bytes(4))
    return any(count)


class PacedReading:
    """Pauses a connection after each read of discarded bytes, which leaves time for other requests.

    It is still read to its end: otherwise a client that is still sending would lose its response to a reset.
    """

    __slots__ = ("_flow", "_loop", "_timer", "_transport")

    def __init__(self, transport: asyncio.Transport, flow: FlowControl, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._flow, self._loop = transport, flow, loop
        self._timer: asyncio.TimerHandle | None = None

    def pause(self) -> None:
        """Stops reading for a moment."""
        self._flow.pause_reading()
        if self._timer is None:
            self._timer = self._loop.call_later(PAUSE_SECONDS, self._resume)

    def cancel(self) -> None:
        """Stops, because the connection is lost."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _resume(self) -> None:
        self._timer = None
        if not self._transport.is_closing():
            self._flow.resume_reading()
