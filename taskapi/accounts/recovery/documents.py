"""The stored shape of a single-use token."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from beanie import Document, PydanticObjectId
from pymongo import ASCENDING

from taskapi.accounts.users.schemas import Email
from taskapi.db.indexes import Index
from taskapi.db.schema import Confidential

Purpose = Literal["password_reset", "verify_email"]


class OneTimeTokenDocument(Document):
    """A single-use token that was mailed: at most one for each account and purpose. The token itself is in the mail only."""

    user: PydanticObjectId
    """The ``_id`` of the account."""
    purpose: Purpose
    """What the token permits."""
    token_hash: Annotated[bytes, Confidential()]
    """Keyed hash (BLAKE2b) of the token."""
    address: Email
    """The e-mail address to which the token was sent."""
    mark: Annotated[bytes, Confidential()]
    """Keyed hash of the account's password hash: a new password invalidates the token."""
    expires_at: datetime
    """An hour after the token was created."""

    class Settings:
        name = "one_time_tokens"
        is_internal = True
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
