"""The stored shape of a security event."""

from datetime import datetime
from typing import ClassVar

from beanie import Document, PydanticObjectId
from bson import ObjectId
from pymongo import ASCENDING, DESCENDING

from taskapi.db.indexes import Index

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
            Index(
                [("user", ASCENDING), ("at", DESCENDING), ("_id", DESCENDING)],
                name="user_newest",
                serves="the events of one account, newest first",
            ),
            Index([("at", DESCENDING), ("_id", DESCENDING)], name="newest", serves="all events, newest first"),
            Index(
                [("kind", ASCENDING), ("at", DESCENDING), ("_id", DESCENDING)],
                name="kind_newest",
                serves="the events of one kind, newest first",
            ),
            Index(
                [("by", ASCENDING)],
                name="by_admin",
                serves="finding what an admin did to other accounts, when the admin's account is erased",
                partialFilterExpression={"by": {"$gt": GONE}},
            ),
            Index([("expires_at", ASCENDING)], name="event_expiry", serves="the removal of expired events", expireAfterSeconds=0),
        ]
