"""The stored shape of an account."""

from datetime import datetime
from typing import Annotated, ClassVar

from beanie import Document, PydanticObjectId
from pydantic import BaseModel, Field
from pymongo import ASCENDING

from taskapi.accounts.security.scopes import MEANING, Role, Scope
from taskapi.accounts.users.schemas import Email, FullName, Username
from taskapi.core.fields import Composed, Trimmed, Visible, omittable
from taskapi.db.connection import BSON
from taskapi.db.indexes import Index

MAX_TOKENS = 50  # of one account
MAX_TOKEN_DAYS = 365
RECOVERY_CODES = 10
TokenName = Annotated[str, Trimmed, Field(min_length=1, max_length=100), Visible, Composed]

SHOWN = ("username", "email", "email_verified", "pending_email", "full_name", "disabled", "role", "two_factor")
PUBLIC = dict.fromkeys((*SHOWN, "created_at", "updated_at"), 1)  # no dotted names: they would cost MongoDB 30 us per request
ACCOUNT = {**PUBLIC, "sessions": 1, "renames": 1}
STILL_THERE = {"leaving.leased_until": None}  # the deletion of the account has not started
MAY_SIGN_IN = {"disabled": False, **STILL_THERE}  # also accounts to be deleted: signing in cancels that
SOURCE = "users"
ACTIVE = {"disabled": False, "leaving": None}
NO_LIST = {"$not": {"$type": "array"}}  # a dotted path matches inside the members of a list, but cannot set a field there
_PRESENT, _ABSENT = {"$exists": True}, {"$exists": False}
_NAME_KEY = {"$cond": [{"$eq": [{"$type": "$username"}, "string"]}, {"$toLower": "$username"}, ""]}
RULES: list[BSON] = [
    {"$expr": {"$eq": ["$username_key", _NAME_KEY]}},
    {"$or": [{"email": None, "email_key": _ABSENT}, {"email": {"$ne": None}, "email_key": _PRESENT}]},
    # a second factor that is on is confirmed
    {"$or": [{"two_factor": {"$ne": True}}, {"authenticator.last_step": _PRESENT, "authenticator.recovery": _PRESENT}]},
]


class Leaving(BaseModel):
    """A requested account deletion."""

    requested_at: datetime
    due_at: datetime  # when the deletion may start
    leased_until: datetime = omittable()  # by the worker that deletes it; absent while the deletion can be cancelled


class Renaming(BaseModel):
    """The pending update of the copies of a user name, in the tasks of an account that was renamed."""

    renamed_at: datetime
    due_at: datetime
    leased_until: datetime = omittable()  # by the worker that writes the name; absent without one
    holder: PydanticObjectId = omittable()  # that lease


class ApiToken(BaseModel):
    """One API token of an account."""

    id: PydanticObjectId
    name: TokenName
    name_key: str  # ignoring case; unique in the account
    hash: bytes  # SHA-256 of the token
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(MEANING))]
    days: Annotated[int, Field(ge=1, le=MAX_TOKEN_DAYS)]  # for which each of its secrets is valid
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None  # up to two minutes behind


class Authenticator(BaseModel):
    """The authenticator of a second factor."""

    secret: bytes  # encrypted
    # until when it can be confirmed; absent once confirmed, while the next two are absent before
    expires_at: datetime = omittable()
    last_step: Annotated[int, Field(ge=0)] = omittable()  # of the last code that was used, in 30 s since 1970
    recovery: Annotated[list[bytes], Field(max_length=RECOVERY_CODES)] = omittable()  # keyed hashes of the codes that are left


class UserDocument(Document):
    """One account. The ``*_key`` fields are the lower-cased values that must be unique."""

    username: Username
    username_key: str
    email: Email | None = None
    email_key: str = omittable()  # absent, not null, without an address: the unique index is sparse
    email_verified: bool = False  # the owner has proved access to the address
    pending_email: Email | None = None  # replaces a verified address once it is verified itself
    full_name: FullName | None = None
    password_hash: str
    disabled: bool = False
    role: Role = "user"
    sessions: tuple[PydanticObjectId, ...] = ()  # the live ones; at most 100, except while several more begin at once
    last_admin_checks: Annotated[int, Field(ge=0)] = 0  # incremented in every active admin when one loses that role
    leaving: Leaving = omittable()  # absent unless the deletion was requested
    renames: Annotated[int, Field(ge=0)] = 0  # changes of the name: a part of the entity tags of tasks; absent reads as 0
    renaming: Renaming = omittable()  # absent unless copies of the name are out of date
    api_tokens: Annotated[tuple[ApiToken, ...], Field(max_length=MAX_TOKENS)] = ()
    two_factor: bool = False  # whether signing in requires it; absent reads as false
    authenticator: Authenticator = omittable()  # absent without one
    created_at: datetime
    updated_at: datetime

    class Settings:
        name = SOURCE
        rules: ClassVar = RULES
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
