"""The stored shape of a single-use token."""

from datetime import datetime
from typing import ClassVar

from beanie import Document, PydanticObjectId
from pymongo import ASCENDING, IndexModel


class OneTimeTokenDocument(Document):
    """The current token of an account for one purpose. The token itself is only in the mail."""

    user: PydanticObjectId
    purpose: str
    token_hash: bytes
    address: str  # the e-mail address that it was sent to
    mark: bytes  # signs the account's password hash: a new password invalidates the token
    expires_at: datetime

    class Settings:
        name = "one_time_tokens"
        indexes: ClassVar = [
            # a new token replaces the previous one
            IndexModel([("user", ASCENDING), ("purpose", ASCENDING)], name="user_purpose", unique=True),
            # finding a token that is used
            IndexModel([("token_hash", ASCENDING)], name="token_hash"),
            # MongoDB removes expired tokens
            IndexModel([("expires_at", ASCENDING)], name="token_expiry", expireAfterSeconds=0),
        ]
