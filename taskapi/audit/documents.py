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
    "webhook_changed",
    "webhook_created",
    "webhook_deleted",
    "webhook_secret_rotated",
]
Outcome = Literal["success", "failure"]

MAX_AGENT_LENGTH = 200  # characters of a User-Agent that are stored
Agent = Annotated[str, Field(max_length=MAX_AGENT_LENGTH)]
GONE = ObjectId("0" * 24)  # stands for a deleted account


class SecurityEventDocument(Document):
    """An event of the audit log, written once and never changed. It is kept for ``TASKAPI_EVENT_DAYS``.

    It contains no secret, and no input of an unknown caller.
    """

    at: datetime
    """When it happened."""
    kind: Kind
    """What happened."""
    outcome: Outcome
    """Whether it succeeded."""
    user: PydanticObjectId | None
    """The ``_id`` of the account that the event is about; null if no account has the name that was tried."""
    by: PydanticObjectId | None
    """The ``_id`` of the admin who did it; null if it was the account itself; 24 zeros if the admin's account has been erased."""
    address: str
    """The caller's IP address."""
    agent: Agent
    """The start of the caller's ``User-Agent``."""
    request_id: str
    """Identifies the request in the log."""
    details: dict[str, str]
    """Further details, as strings; no secrets."""
    expires_at: datetime
    """When MongoDB removes the event."""

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
