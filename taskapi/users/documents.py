"""How a user is stored."""

from datetime import datetime
from typing import ClassVar

from beanie import Document, PydanticObjectId
from pymongo import ASCENDING, IndexModel

from taskapi.scopes import Role

PUBLIC = {
    "username": 1,
    "email": 1,
    "email_verified": 1,
    "pending_email": 1,
    "full_name": 1,
    "disabled": 1,
    "role": 1,
    "created_at": 1,
    "updated_at": 1,
}  # what its owner sees
ACTIVE = {"disabled": False}


class UserDocument(Document):
    """One account. The ``*_key`` fields are the lower-cased values that must be unique."""

    username: str
    username_key: str
    email: str | None = None
    email_key: str | None = None  # absent, not null, without an address: the unique index is sparse
    email_verified: bool = False  # whoever has the account has shown that they read the address
    pending_email: str | None = None  # takes the place of a verified address once it is confirmed
    full_name: str | None = None
    password_hash: str
    disabled: bool = False
    role: Role = "user"
    sessions: tuple[PydanticObjectId, ...] = ()  # those that live; at most 100
    created_at: datetime
    updated_at: datetime

    class Settings:
        name = "users"
        indexes: ClassVar = [
            # signing in, and the uniqueness of user names without regard to case
            IndexModel([("username_key", ASCENDING)], name="username_unique", unique=True),
            # the uniqueness of addresses without regard to case
            IndexModel([("email_key", ASCENDING)], name="email_unique", unique=True, sparse=True),
        ]
