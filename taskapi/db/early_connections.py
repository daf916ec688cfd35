"""Replaces connections that were opened before their server was ready.

The driver asks a server once per connection whether it has sessions, and a member of a replica set that has just started has
none. With ``directConnection``, which waits for no primary, such a connection would stay in use for as long as it is open: every
export and transaction on it would fail, and no write would be retried.
"""

from typing import Any

from pymongo import MongoClient
from pymongo.monitoring import ServerClosedEvent, ServerDescriptionChangedEvent, ServerListener, ServerOpeningEvent


class EarlyConnections(ServerListener):
    """Has a client open new connections whenever a server has become the primary."""

    def __init__(self) -> None:
        self._client: MongoClient[Any] | None = None

    def replace(self, client: MongoClient[Any]) -> None:
        """Do so for ``client``, which has this listener."""
        self._client = client

    def description_changed(self, event: ServerDescriptionChangedEvent) -> None:
        """Called by the driver in a thread of its own, within a second."""
        is_ready = event.new_description.is_writable and not event.previous_description.is_writable
        if is_ready and self._client is not None:
            for server in [*self._client._topology._servers.values()]:
                server.pool.reset_without_pause()  # those in use are closed when they have answered

    def opened(self, event: ServerOpeningEvent) -> None:
        """Nothing to do."""

    def closed(self, event: ServerClosedEvent) -> None:
        """Nothing to do."""
