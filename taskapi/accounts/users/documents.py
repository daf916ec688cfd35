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
from taskapi.db.schema import Confidential

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
_PRESENT, _ABSENT = {"$exists": True}, {"$exists": False}
NAME_KEY = {"$cond": [{"$eq": [{"$type": "$username"}, "string"]}, {"$toLower": "$username"}, ""]}
RULES: list[BSON] = [
    {"$comment": "`username_key` is `username` in lower case.", "$expr": {"$eq": ["$username_key", NAME_KEY]}},
    {
        "$comment": "`email_key` is present if and only if `email` has a value.",
        "$or": [{"email": None, "email_key": _ABSENT}, {"email": {"$ne": None}, "email_key": _PRESENT}],
    },
    {
        "$comment": "If `two_factor` is true, the authenticator is confirmed.",
        "$or": [{"two_factor": {"$ne": True}}, {"authenticator.last_step": _PRESENT, "authenticator.recovery": _PRESENT}],
    },
]


class Leaving(BaseModel):
    """A requested account deletion."""

    requested_at: datetime
    """When the user requested deletion."""
    due_at: datetime
    """When the account may be erased."""
    leased_until: datetime = omittable()
    """Until when the worker that erases the account keeps others out. Absent until erasure begins; from then on, deletion
    cannot be cancelled."""


class Renaming(BaseModel):
    """The pending update of the copies of a user name, in the tasks of an account that was renamed."""

    renamed_at: datetime
    """When the name changed."""
    due_at: datetime
    """When the tasks are next updated."""
    leased_until: datetime = omittable()
    """Until when a worker that updates the tasks keeps others out. Absent without a lease."""
    holder: PydanticObjectId = omittable()
    """Identifies that lease."""


class ApiToken(BaseModel):
    """One API token of an account."""

    id: PydanticObjectId
    """The token's id."""
    name: TokenName
    """The token's name."""
    name_key: str
    """``name``, case-folded; unique in the account."""
    hash: Annotated[bytes, Confidential()]
    """SHA-256 of the token, by which a request's token is looked up."""
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(MEANING))]
    """What the token permits."""
    days: Annotated[int, Field(ge=1, le=MAX_TOKEN_DAYS)]
    """Days for which each of the token's secrets is valid."""
    created_at: datetime
    """When the token was created."""
    expires_at: datetime
    """When the current secret expires."""
    last_used_at: datetime | None
    """When the current secret was last used, up to two minutes behind; null if never."""


class Authenticator(BaseModel):
    """The authenticator of a second factor."""

    secret: Annotated[bytes, Confidential()]
    """The secret that the authenticator shares, encrypted (Fernet) with a key derived from the service's secret."""
    expires_at: datetime = omittable()
    """Until when the authenticator can be confirmed; absent once it is."""
    last_step: Annotated[int, Field(ge=0)] = omittable()
    """The time step (units of 30 s since 1970) of the last code that was used: codes up to it are refused. Absent until the
    authenticator is confirmed."""
    recovery: Annotated[list[bytes], Field(max_length=RECOVERY_CODES), Confidential()] = omittable()
    """Keyed hashes (BLAKE2b) of the unused recovery codes. Absent until the authenticator is confirmed."""


class UserDocument(Document):
    """One account. The ``*_key`` fields are the values that must be unique, in lower case."""

    username: Username
    """The user name, in the user's spelling."""
    username_key: str
    """``username`` in lower case; unique."""
    email: Email | None = None
    """The e-mail address as given, with its domain in lower case; null without one."""
    email_key: str = omittable()
    """``email`` in lower case; unique. Absent, not null, without an address."""
    email_verified: bool = False
    """Whether the user has proved that they receive mail there. Absent in accounts of version 1.1 and before, meaning false."""
    pending_email: Email | None = None
    """A new address, which replaces the verified one once it is confirmed."""
    full_name: FullName | None = None
    """The user's full name. In Unicode NFC when written by version 1.3 or later."""
    password_hash: Annotated[str, Confidential()]
    """Argon2id in PHC format, or bcrypt until the next sign-in."""
    disabled: bool = False
    """If true, the account cannot sign in, and its next request is refused."""
    role: Role = "user"
    """What the account may do. Absent in accounts of version 1.1 and before, meaning ``user``."""
    sessions: tuple[PydanticObjectId, ...] = ()
    """The ids of the sessions that have not been ended, at most 100 except while several begin at once; some may have expired.
    Access tokens of other sessions are refused."""
    last_admin_checks: Annotated[int, Field(ge=0)] = 0
    """Incremented in every active admin when one of them stops being one, so that two such changes at the same time conflict.
    Absent at first, meaning 0."""
    leaving: Leaving = omittable()
    """Present once the user has requested the deletion of the account."""
    renames: Annotated[int, Field(ge=0)] = 0
    """How often the user name has changed: part of the entity tags of the account's tasks. Absent at first, meaning 0."""
    renaming: Renaming = omittable()
    """Present while tasks may still contain an earlier user name."""
    api_tokens: Annotated[tuple[ApiToken, ...], Field(max_length=MAX_TOKENS)] = ()
    """The API tokens of the account."""
    two_factor: bool = False
    """If true, signing in requires a second factor. Absent at first, meaning false."""
    authenticator: Authenticator = omittable()
    """The secret and state of the second factor; absent without one."""
    created_at: datetime
    """When the account was created."""
    updated_at: datetime
    """When its owner last changed it."""

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
