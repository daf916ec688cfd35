"""How a mail that is to be sent is stored."""

from datetime import datetime
from typing import ClassVar

from beanie import Document, PydanticObjectId
from pydantic import BaseModel
from pymongo import ASCENDING, IndexModel


class Origin(BaseModel):
    """The request that a mail comes of."""

    address: str
    agent: str
    request_id: str


class MailJobDocument(Document):
    """One mail to be sent. It holds no secret: a token is made when the mail is written."""

    kind: str
    user: PydanticObjectId | None
    address: str | None  # where that is not the account's at the time of sending
    origin: Origin
    due_at: datetime
    leased_until: datetime  # until when a worker has it for itself
    attempts: int
    created_at: datetime
    expires_at: datetime

    class Settings:
        name = "mail_jobs"
        indexes: ClassVar = [
            # the next mail that is due
            IndexModel([("due_at", ASCENDING)], name="due"),
            # the mails to an account that is removed
            IndexModel([("user", ASCENDING)], name="mail_user"),
            # MongoDB removes what could not be sent
            IndexModel([("expires_at", ASCENDING)], name="mail_expiry", expireAfterSeconds=0),
        ]
