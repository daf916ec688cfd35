"""How a user is stored."""

from datetime import datetime
from typing import ClassVar

from beanie import Document, PydanticObjectId
from pymongo import ASCENDING, IndexModel

from taskapi.scopes import Role


class UserDocument(Document):
    """One account. The ``*_key`` fields are the lower-cased values that must be unique."""

    username: str
    username_key: str
    email: str | None = None
    email_key: str | None = None  # absent, not null, without an address: the unique index is sparse
    full_name: str | None = None
    password_hash: str
    disabled: bool = False
    role: Role = "user"
    sessions: tuple[PydanticObjectId, ...] = ()  # those that live; at most 100
    last_admin_checks: int = 0  # grows in every active admin when one of them ceases to be one
    created_at: datetime
    updated_at: datetime

    class Settings:
        name = "users"
        indexes: ClassVar = [
            # signing in, the uniqueness of user names without regard to case, and the list of all accounts by name
            IndexModel([("username_key", ASCENDING)], name="username_unique", unique=True),
            # the uniqueness of addresses without regard to case
            IndexModel([("email_key", ASCENDING)], name="email_unique", unique=True, sparse=True),
            # whether there is an active admin; the list of the admins
            IndexModel([("role", ASCENDING)], name="admins", partialFilterExpression={"role": "admin"}),
        ]
