"""The stored shape of an account."""

from datetime import datetime
from typing import ClassVar

from beanie import Document, PydanticObjectId
from pydantic import BaseModel
from pymongo import ASCENDING

from taskapi.accounts.security.scopes import Role
from taskapi.db.indexes import Index

SHOWN = ("username", "email", "email_verified", "pending_email", "full_name", "disabled", "role", "two_factor")
PUBLIC = dict.fromkeys((*SHOWN, "created_at", "updated_at"), 1)  # no dotted names: they would cost MongoDB 30 us per request
ACCOUNT = {**PUBLIC, "sessions": 1, "renames": 1}
STILL_THERE = {"leaving.leased_until": None}  # the deletion of the account has not started
MAY_SIGN_IN = {"disabled": False, **STILL_THERE}  # also accounts to be deleted: signing in cancels that
SOURCE = "users"
ACTIVE = {"disabled": False, "leaving": None}
NO_LIST = {"$not": {"$type": "array"}}  # a dotted path matches inside the members of a list, but cannot set a field there


class Leaving(BaseModel):
    """A requested account deletion."""

    requested_at: datetime
    due_at: datetime  # when the deletion may start
    leased_until: datetime | None = None  # by the worker that deletes it; absent while the deletion can be cancelled


class Renaming(BaseModel):
    """The pending update of the copies of a user name, in the tasks of an account that was renamed."""

    renamed_at: datetime
    due_at: datetime
    leased_until: datetime | None = None  # by the worker that writes the name; absent without one
    holder: PydanticObjectId | None = None  # that lease


class ApiToken(BaseModel):
    """One API token of an account."""

    id: PydanticObjectId
    name: str
    name_key: str  # ignoring case; unique in the account
    hash: bytes  # SHA-256 of the token
    scopes: list[str]
    days: int  # for which each of its secrets is valid
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None  # up to two minutes behind


class Authenticator(BaseModel):
    """The authenticator of a second factor."""

    secret: bytes  # encrypted
    expires_at: datetime | None = (
        None  # until when it can be confirmed; absent once confirmed, while the next two are absent before
    )
    last_step: int | None = None  # of the last code that was used, in 30 s since 1970
    recovery: list[bytes] | None = None  # keyed hashes of the recovery codes that are left


class UserDocument(Document):
    """One account. The ``*_key`` fields are the lower-cased values that must be unique."""

    username: str
    username_key: str
    email: str | None = None
    email_key: str | None = None  # absent, not null, without an address: the unique index is sparse
    email_verified: bool = False  # the owner has proved access to the address
    pending_email: str | None = None  # replaces a verified address once it is verified itself
    full_name: str | None = None
    password_hash: str
    disabled: bool = False
    role: Role = "user"
    sessions: tuple[PydanticObjectId, ...] = ()  # the live ones; at most 100
    last_admin_checks: int = 0  # incremented in every active admin when one loses that role
    leaving: Leaving | None = None  # absent unless the deletion was requested
    renames: int = 0  # how often the name has changed: a part of the entity tags of tasks; absent reads as 0
    renaming: Renaming | None = None  # absent unless copies of the name are out of date
    api_tokens: tuple[ApiToken, ...] = ()  # at most 50
    two_factor: bool = False  # whether signing in requires it; absent reads as false
    authenticator: Authenticator | None = None  # absent without one
    created_at: datetime
    updated_at: datetime

    class Settings:
        name = SOURCE
        indexes: ClassVar = [
            Index(
                [("username_key", ASCENDING)],
                name="username_unique",
                serves="signing in; unique user names, ignoring case; the list of accounts by name",
                unique=True,
            ),
            Index(
                [("email_key", ASCENDING)],
                name="email_unique",
                serves="unique e-mail addresses, ignoring case; finding the account for a password reset",
                unique=True,
                sparse=True,
            ),
            Index(
                [("role", ASCENDING)],
                name="admins",
                serves="checking that an active admin is left; the list of admins",
                partialFilterExpression={"role": "admin"},
            ),
            Index(
                [("leaving.due_at", ASCENDING)],
                name="leaving_due",
                serves="erasing accounts: the one that has been due longest",
                sparse=True,
            ),
            Index(
                [("renaming.due_at", ASCENDING)],
                name="renaming_due",
                serves="writing new user names into tasks: the account that has been due longest",
                sparse=True,
            ),
            Index(
                [("two_factor", ASCENDING)],
                name="with_two_factor",
                serves="checking that all second factors can be decrypted",
                partialFilterExpression={"two_factor": True},
            ),
            Index(
                [("api_tokens.hash", ASCENDING)],
                name="api_token_hash",
                serves="finding the account behind an API token",
                unique=True,
                partialFilterExpression={"api_tokens.hash": {"$exists": True}},
            ),
        ]
