"""How a security event is stored."""

from datetime import datetime
from typing import ClassVar

from beanie import Document, PydanticObjectId
from pymongo import ASCENDING, DESCENDING, IndexModel


class SecurityEventDocument(Document):
    """One event. It holds no secret, and nothing that somebody typed in who is not known."""

    at: datetime
    kind: str
    outcome: str  # "success" or "failure"
    user: PydanticObjectId | None  # whose account it is about; None when there is none
    by: PydanticObjectId | None  # who did it, when that is somebody else
    address: str
    agent: str
    request_id: str
    details: dict[str, str]
    expires_at: datetime

    class Settings:
        name = "security_events"
        indexes: ClassVar = [
            # the events of one account, newest first
            IndexModel([("user", ASCENDING), ("at", DESCENDING), ("_id", DESCENDING)], name="user_newest"),
            # all events, newest first
            IndexModel([("at", DESCENDING), ("_id", DESCENDING)], name="newest"),
            # those of one kind, newest first
            IndexModel([("kind", ASCENDING), ("at", DESCENDING), ("_id", DESCENDING)], name="kind_newest"),
            # MongoDB removes what has expired
            IndexModel([("expires_at", ASCENDING)], name="event_expiry", expireAfterSeconds=0),
        ]
