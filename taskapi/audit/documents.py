"""The stored shape of a security event."""

from datetime import datetime
from typing import ClassVar

from beanie import Document, PydanticObjectId
from bson import ObjectId
from pymongo import ASCENDING, DESCENDING, IndexModel

GONE = ObjectId("0" * 24)  # stands for a deleted account


class SecurityEventDocument(Document):
    """One event. It contains no secret, and no input of an unknown caller."""

    at: datetime
    kind: str
    outcome: str  # "success" or "failure"
    user: PydanticObjectId | None  # the account that the event is about, if any
    by: PydanticObjectId | None  # the admin who did it; None for the account itself
    address: str  # the caller's IP address
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
            # the events of one kind, newest first
            IndexModel([("kind", ASCENDING), ("at", DESCENDING), ("_id", DESCENDING)], name="kind_newest"),
            # what an admin did to others, when the admin's account is deleted
            IndexModel([("by", ASCENDING)], name="by_admin", partialFilterExpression={"by": {"$gt": GONE}}),
            # MongoDB removes expired events
            IndexModel([("expires_at", ASCENDING)], name="event_expiry", expireAfterSeconds=0),
        ]
