"""The stored shape of a queued mail."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from beanie import Document, PydanticObjectId
from pydantic import BaseModel, Field
from pymongo import ASCENDING

from taskapi.audit.documents import Agent
from taskapi.db.indexes import Index

Kind = Literal["password_reset", "verify_email", "notice_password", "notice_email", "notice_webhook"]


class Origin(BaseModel):
    """The request that queued a mail."""

    address: str
    """The IP address of the request."""
    agent: Agent
    """The start of its ``User-Agent``."""
    request_id: str
    """Identifies the request in the log."""


class MailJobDocument(Document):
    """A mail to be sent. It contains no secret: the token is created when the mail is written."""

    kind: Kind
    """Which mail it is."""
    user: PydanticObjectId | None
    """The ``_id`` of the account that the mail is about; null for a password reset, which names an address."""
    address: str | None
    """The address given to ``/password/forgot``, or the recipient of a notice; null for the account's address at the time of
    sending."""
    origin: Origin
    """The request that caused the mail."""
    due_at: datetime
    """When to send the mail."""
    leased_until: datetime
    """Until when a worker has the job to itself."""
    attempts: Annotated[int, Field(ge=0)]
    """How often sending was begun."""
    created_at: datetime
    """When the mail was requested. One day later, sending is no longer attempted."""
    expires_at: datetime
    """Two days after ``created_at``."""

    class Settings:
        name = "mail_jobs"
        is_internal = True
        indexes: ClassVar = [
            Index([("due_at", ASCENDING)], name="due", serves="finding the next mail that is due"),
            Index([("user", ASCENDING)], name="mail_user", serves="erasing an account"),
            Index(
                [("expires_at", ASCENDING)],
                name="mail_expiry",
                serves="the removal of mails that could not be sent",
                expireAfterSeconds=0,
            ),
        ]
