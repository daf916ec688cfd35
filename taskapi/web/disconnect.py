"""Ends a request's wait when its client disconnects or closes its side of the connection, and cuts off one who does not read."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast

from starlette.types import Scope

KEY = "taskapi.web.disconnect"  # of the scope; other servers, and tests without one, set nothing


class Resting(Protocol):
    """The protocol of a connection that can do with less while it waits."""

    def rest(self) -> None:
        """Drops what it does not need until another request comes: the current one is complete, and takes long to answer."""


class Disconnect:
    """Tells the waiting requests of a connection that it has ended."""

    __slots__ = ("_connection", "_happened", "_waits")

    def __init__(self, connection: asyncio.WriteTransport | None = None) -> None:
        self._connection = connection
        self._happened = False
        self._waits: list[asyncio.Future[Any]] = []

    def notify(self) -> None:
        """Fails all current and future waits with ConnectionResetError."""
        self._happened = True
        for wait in self._waits:
            if not wait.done():
                wait.set_exception(ConnectionResetError())

    def abort(self) -> None:
        """Closes the connection at once. What was written and not sent yet is lost."""
        if self._connection:
            self._connection.abort()

    def rest(self) -> None:
        """Has the connection keep as little as it can, because its request takes long to answer."""
        if self._connection and not self._happened:
            cast(Resting, self._connection.get_protocol()).rest()

    def tell(self, wait: "asyncio.Future[Any]") -> None:
        """Fails ``wait`` when the connection ends."""
        self._waits.append(wait)
        if self._happened:
            self.notify()

    def forget(self, wait: "asyncio.Future[Any]") -> None:
        """Leaves ``wait`` alone from now on."""
        self._waits.remove(wait)

    @contextmanager
    def watch(self, wait: "asyncio.Future[None]") -> Iterator[None]:
        """Fails ``wait`` when the connection ends during the block."""
        self.tell(wait)
        try:
            yield
        finally:
            self.forget(wait)


def of_scope(scope: Scope) -> Disconnect:
    """The ``Disconnect`` of a request's connection; one that never fires if the server does not support it."""
    found: Disconnect | None = scope.get(KEY)
    return found or Disconnect()
