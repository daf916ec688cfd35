"""How a user is stored."""

from datetime import datetime
from typing import ClassVar

from beanie import Document, PydanticObjectId
from pydantic import BaseModel
from pymongo import ASCENDING, IndexModel

from taskapi.accounts.security.scopes import Role

SHOWN = ("username", "email", "email_verified", "pending_email", "full_name", "disabled", "role", "two_factor")
PUBLIC = dict.fromkeys((*SHOWN, "created_at", "updated_at"), 1)  # no dotted name: it would cost MongoDB 30 us a request
ACCOUNT = {**PUBLIC, "sessions": 1, "renames": 1}
STILL_THERE = {"leaving.leased_until": None}  # the removal of the account has not begun
MAY_SIGN_IN = {"disabled": False, **STILL_THERE}  # also accounts to be deleted: signing in cancels that
SOURCE = "users"
ACTIVE = {"disabled": False, "leaving": None}
NO_LIST = {"$not": {"$type": "array"}}  # a path finds what is in the members of a list, but cannot set it


class Leaving(BaseModel):
    """The requested deletion of an account."""

    requested_at: datetime
    due_at: datetime  # when its removal may begin
    leased_until: datetime | None = None  # by the worker that removes it; absent as long as there is a way back


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
    name_key: str  # without regard to case; unique in the account
    hash: bytes  # SHA-256 of the token
    scopes: list[str]
    days: int  # that each of its secrets is good for
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None  # up to two minutes behind


class Authenticator(BaseModel):
    """What makes the codes of a second factor."""

    secret: bytes  # encrypted
    expires_at: datetime | None = None  # until when it can be confirmed; absent once it is, and the other two before
    last_step: int | None = None  # of the last code that was used, in 30 s since 1970
    recovery: list[bytes] | None = None  # keyed hashes of the recovery codes that are left


class UserDocument(Document):
    """One account. The ``*_key`` fields are the lower-cased values that must be unique."""

    username: str
    username_key: str
    email: str | None = None
    email_key: str | None = None  # absent, not null, without an address: the unique index is sparse
    email_verified: bool = False  # the owner has shown that they read the address
    pending_email: str | None = None  # takes the place of a verified address once it is confirmed
    full_name: str | None = None
    password_hash: str
    disabled: bool = False
    role: Role = "user"
    sessions: tuple[PydanticObjectId, ...] = ()  # those that live; at most 100
    last_admin_checks: int = 0  # grows in every active admin when one of them ceases to be one
    leaving: Leaving | None = None  # absent unless the deletion was requested
    renames: int = 0  # how often the name has changed: a part of the entity tags of tasks; absent reads as 0
    renaming: Renaming | None = None  # absent, but while copies of the name have to follow
    api_tokens: tuple[ApiToken, ...] = ()  # at most 50
    two_factor: bool = False  # whether signing in asks for it; absent reads so, too
    authenticator: Authenticator | None = None  # absent without one
    created_at: datetime
    updated_at: datetime

    class Settings:
        name = SOURCE
        indexes: ClassVar = [
            # signing in, the uniqueness of user names without regard to case, and the list of all accounts by name
            IndexModel([("username_key", ASCENDING)], name="username_unique", unique=True),
            # the uniqueness of addresses without regard to case
            IndexModel([("email_key", ASCENDING)], name="email_unique", unique=True, sparse=True),
            # whether there is an active admin; the list of the admins
            IndexModel([("role", ASCENDING)], name="admins", partialFilterExpression={"role": "admin"}),
            # the removal of accounts: the one that has waited longest
            IndexModel([("leaving.due_at", ASCENDING)], name="leaving_due", sparse=True),
            # copies of a name that have to follow: the account that has waited longest
            IndexModel([("renaming.due_at", ASCENDING)], name="renaming_due", sparse=True),
            # whether all second factors can be checked
            IndexModel([("two_factor", ASCENDING)], name="with_two_factor", partialFilterExpression={"two_factor": True}),
            # the account behind an API token
            IndexModel(
                [("api_tokens.hash", ASCENDING)],
                name="api_token_hash",
                unique=True,
                partialFilterExpression={"api_tokens.hash": {"$exists": True}},
            ),
        ]
