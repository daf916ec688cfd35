"""The stored shape of a ticket."""

from datetime import datetime
from typing import Annotated, ClassVar

from beanie import Document, PydanticObjectId
from pydantic import Field
from pymongo import ASCENDING

from taskapi.accounts.security.scopes import MEANING, Scope
from taskapi.db.indexes import Index
from taskapi.db.schema import Confidential


class EventTicketDocument(Document):
    """A single-use ticket, which opens one stream of events in place of a token. It is removed when it is used.

    The ticket itself is in the answer to the caller only.
    """

    id: Annotated[bytes, Confidential()]  # type: ignore[assignment]
    """SHA-256 of the ticket."""
    user: PydanticObjectId
    """The ``_id`` of the account."""
    session: PydanticObjectId | None
    """The ``_id`` of the session that asked for the ticket; null if an API token did."""
    api_token: Annotated[bytes | None, Confidential()]
    """SHA-256 of the API token that asked for the ticket; null if a session did."""
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(MEANING))]
    """What the ticket permits: the scopes of that session or API token."""
    expires_at: datetime
    """30 seconds after the ticket was created."""

    class Settings:
        name = "event_tickets"
        is_internal = True
        rules: ClassVar = [
            {
                "$comment": "Either `session` or `api_token` is null.",
                "$or": [{"session": None, "api_token": {"$ne": None}}, {"session": {"$ne": None}, "api_token": None}],
            },
        ]
        indexes: ClassVar = [
            Index([("user", ASCENDING)], name="ticket_user", serves="the removal of the tickets of an account that is erased"),
            Index(
                [("expires_at", ASCENDING)], name="ticket_expiry", serves="the removal of expired tickets", expireAfterSeconds=0
            ),
        ]
