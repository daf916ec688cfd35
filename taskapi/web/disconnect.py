"""Ends what a request waits for once its client has gone away or ended its side of the connection."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import Scope

KEY = "taskapi.web.disconnect"  # of the scope; other servers, and tests without one, set nothing


class Disconnect:
    """The end of one connection, for the requests on it that wait."""

    def __init__(self) -> None:
        self._happened = False
        self._waits: set[asyncio.Future[None]] = set()

    def notify(self) -> None:
        """Fails all waits, and those to come, with ConnectionResetError."""
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
    """The end of a request's connection; one that never comes when the server does not tell."""
    found: Disconnect | None = scope.get(KEY)
    return found or Disconnect()
