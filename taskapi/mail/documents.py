"""The stored shape of a queued mail."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from beanie import Document, PydanticObjectId
from pydantic import BaseModel, Field
from pymongo import ASCENDING

from taskapi.audit.documents import Agent
from taskapi.db.indexes import Index

Kind = Literal["password_reset", "verify_email", "notice_password", "notice_email"]


class Origin(BaseModel):
    """The request that queued a mail."""

    address: str
    agent: Agent
    request_id: str


class MailJobDocument(Document):
    """One queued mail. It holds no secret: a token is created when the mail is written."""

    kind: Kind
    user: PydanticObjectId | None
    address: str | None  # the recipient's e-mail address; null: the account's at the time of sending
    origin: Origin
    due_at: datetime
    leased_until: datetime  # by the worker that sends it
    attempts: Annotated[int, Field(ge=0)]
    created_at: datetime
    expires_at: datetime

    class Settings:
        name = "mail_jobs"
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
