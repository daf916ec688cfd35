"""Writes a response to its connection: the head and what follows at once are sent in one packet."""

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class AnswerTransport:
    """The transport that Uvicorn writes one answer to. Each write is a system call, which costs more than most of an answer.

    ``close`` is called in place of the connection's own, which belongs to the protocol.
    """

    __slots__ = ("_close", "_cycle", "_head", "_loop", "_send", "is_closing")

    def __init__(
        self,
        connection: asyncio.Transport,
        cycle: RequestResponseCycle,
        loop: asyncio.AbstractEventLoop,
        close: Callable[[], None],
    ) -> None:
        self.is_closing = connection.is_closing
        self._send, self._loop, self._close = connection.write, loop, close
        self._cycle: RequestResponseCycle | None = cycle  # until the answer begins: a cycle of references would outlive it
        self._head: bytes | None = None  # while it waits for what follows

    def write(self, data: bytes) -> None:
        """Sends a part of the answer; the head with the next part, or alone when none follows in this turn of the loop."""
        if self._head is not None:
            data, self._head = self._head + data, None
        elif self._cycle and self._cycle.response_started:  # before that, 100 (Continue)
            self._head, self._cycle = data, None
            self._loop.call_soon(self.flush)
            return
        self._send(data)

    def flush(self) -> None:
        """Sends a head that still waits, before anything else is done with the connection."""
        if self._head is not None:
            head, self._head = self._head, None
            self._send(head)

    def close(self) -> None:
        """Ends the connection after what was written."""
        self.flush()
        self._close()
