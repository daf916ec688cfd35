"""The stored shape of a security event."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from beanie import Document, PydanticObjectId
from bson import ObjectId
from pydantic import Field
from pymongo import ASCENDING, DESCENDING

from taskapi.db.indexes import Index

Kind = Literal[
    "account_created",
    "account_deletion_requested",
    "account_deletion_cancelled",
    "account_disabled",
    "account_enabled",
    "account_exported",
    "current_password",
    "email_changed",
    "email_verified",
    "password_changed",
    "password_reset",
    "password_reset_requested",
    "recovery_code_used",
    "recovery_codes_made",
    "refresh_token_reused",
    "role_changed",
    "session_ended",
    "sessions_ended",
    "sign_in",
    "token_created",
    "token_revoked",
    "token_rotated",
    "two_factor_disabled",
    "two_factor_enabled",
    "username_changed",
]
Outcome = Literal["success", "failure"]

MAX_AGENT_LENGTH = 200  # characters of a User-Agent that are stored
Agent = Annotated[str, Field(max_length=MAX_AGENT_LENGTH)]
GONE = ObjectId("0" * 24)  # stands for a deleted account


class SecurityEventDocument(Document):
    """One event. It contains no secret, and no input of an unknown caller."""

    at: datetime
    kind: Kind
    outcome: Outcome
    user: PydanticObjectId | None  # the account that the event is about, if any
    by: PydanticObjectId | None  # the admin who did it; None for the account itself
    address: str  # the caller's IP address
    agent: Agent
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
