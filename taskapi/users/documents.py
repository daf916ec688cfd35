"""How a user is stored."""

from datetime import datetime
from typing import ClassVar

from beanie import Document, PydanticObjectId
from pydantic import BaseModel
from pymongo import ASCENDING, IndexModel

from taskapi.scopes import Role


class Leaving(BaseModel):
    """What an account has whose owner wants it to go."""

    requested_at: datetime
    due_at: datetime  # when its removal may begin
    leased_until: datetime | None = None  # by the worker that removes it; absent as long as there is a way back


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
    leaving: Leaving | None = None  # absent, but for an account that is to go
    created_at: datetime
    updated_at: datetime

    class Settings:
        name = "users"
        indexes: ClassVar = [
            # signing in, and the uniqueness of user names without regard to case
            IndexModel([("username_key", ASCENDING)], name="username_unique", unique=True),
            # the uniqueness of addresses without regard to case
            IndexModel([("email_key", ASCENDING)], name="email_unique", unique=True, sparse=True),
            # the removal of accounts: the one that has waited longest
            IndexModel([("leaving.due_at", ASCENDING)], name="leaving_due", sparse=True),
        ]
