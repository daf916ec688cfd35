"""The stored shape of a single-use token."""

from datetime import datetime
from typing import ClassVar, Literal

from beanie import Document, PydanticObjectId
from pymongo import ASCENDING

from taskapi.accounts.users.schemas import Email
from taskapi.db.indexes import Index

Purpose = Literal["password_reset", "verify_email"]


class OneTimeTokenDocument(Document):
    """The current token of an account for one purpose. The token itself is only in the mail."""

    user: PydanticObjectId
    purpose: Purpose
    token_hash: bytes
    address: Email  # the e-mail address that it was sent to
    mark: bytes  # signs the account's password hash: a new password invalidates the token
    expires_at: datetime

    class Settings:
        name = "one_time_tokens"
        indexes: ClassVar = [
            Index(
                [("user", ASCENDING), ("purpose", ASCENDING)],
                name="user_purpose",
                serves="replacing the previous token of an account; at most one for each purpose",
                unique=True,
            ),
            Index([("token_hash", ASCENDING)], name="token_hash", serves="finding a token that is used"),
            Index([("expires_at", ASCENDING)], name="token_expiry", serves="the removal of expired tokens", expireAfterSeconds=0),
        ]
