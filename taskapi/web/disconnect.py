"""Ends a request's wait when its client disconnects or closes its side of the connection."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import Scope

KEY = "taskapi.web.disconnect"  # of the scope; other servers, and tests without one, set nothing


class Disconnect:
    """Tells the waiting requests of a connection that it has ended."""

    def __init__(self) -> None:
        self._happened = False
        self._waits: set[asyncio.Future[None]] = set()

    def notify(self) -> None:
        """Fails all current and future waits with ConnectionResetError."""
        self._happened = True
        for wait in self._waits:
            if not wait.done():
                wait.set_exception(ConnectionResetError())

    @contextmanager
    def watch(self, wait: "asyncio.Future[None]") -> Iterator[None]:
        """Fails ``wait`` when the connection ends."""
        self._waits.add(wait)
        if self._happened:
            self.notify()
        try:
            yield
        finally:
            self._waits.discard(wait)


def of_scope(scope: Scope) -> Disconnect:
    """The ``Disconnect`` of a request's connection; one that never fires if the server does not support it."""
    found: Disconnect | None = scope.get(KEY)
    return found or Disconnect()
