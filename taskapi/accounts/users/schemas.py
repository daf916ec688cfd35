"""Users as callers send and see them."""

from functools import cached_property
from typing import Annotated, Any, Protocol, Self

from bson import ObjectId
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from taskapi.accounts.security import password_policy
from taskapi.accounts.security.scopes import Role
from taskapi.core import email_addresses
from taskapi.core.fields import Composed, Id, ReadModel, Storable, TextRule, Trimmed, UTCDateTime, Visible, in_words, omittable

Username = Annotated[
    str,
    StringConstraints(min_length=3, max_length=50, pattern=r"^[A-Za-z0-9_.-]+$"),
    in_words("must contain only letters from A to Z, digits, full stops, hyphens and underscores"),
]


def _normalize_email(text: str) -> str:
    try:
        return email_addresses.normalize(text)
    except ValueError:  # its messages repeat parts of the input
        raise PydanticCustomError("email", "must be an e-mail address such as ada@example.com") from None


def _prepare_password(password: str) -> str:
    try:
        return password_policy.prepare(password)
    except ValueError:  # its messages repeat the password
        raise PydanticCustomError(
            "password_characters", "must not contain control, invisible or unassigned characters (some emoji contain them)"
        ) from None


Email = Annotated[
    str, Trimmed, Field(max_length=254, json_schema_extra={"format": "email"}), TextRule(_normalize_email, r"^[^@]*\z")
]
FullName = Annotated[str, Trimmed, Field(max_length=100), Visible, Composed]
Password = Annotated[
    str,
    Field(min_length=8, max_length=password_policy.MAX_LENGTH, json_schema_extra={"format": "password"}),
    Storable,
    AfterValidator(_prepare_password),
    Composed,
]
CurrentPassword = Annotated[
    str, Field(max_length=password_policy.MAX_TYPED_LENGTH, json_schema_extra={"format": "password"}), Storable
]  # as typed: old hashes are of the typed form


class UserCreate(BaseModel):
    """A new account."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "username": "ada",
                    "password": "correct horse battery",
                    "email": "ada@example.com",
                    "full_name": "Ada Lovelace",
                }
            ]
        },
    )

    username: Username
    password: Password
    email: Email | None = None
    full_name: FullName | None = None


class UserUpdate(BaseModel):
    """Changes to your account: only the fields that are sent. A new password needs the current one. So does a new address if the
    old one is verified, and the old one then stays until the new one is verified."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"full_name": "Ada King"}]})

    username: Username = omittable()
    email: Email | None = None
    full_name: FullName | None = None
    password: Password = omittable()
    current_password: CurrentPassword = omittable(
        description="Required to change the password or a verified address; with an API token, to change any address."
    )

    @model_validator(mode="after")
    def _password_needs_current(self) -> Self:
        sent = self.model_fields_set
        if "password" in sent and "current_password" not in sent:
            raise PydanticCustomError("password_pair", "password and current_password must be sent together")
        if "current_password" in sent and not sent & {"password", "email"}:
            raise PydanticCustomError("password_pair", "current_password is only valid with password or email")
        return self


class UserRead(ReadModel):
    """An account as its owner sees it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "65f1a2b3c4d5e6f708192a3b",
                    "username": "ada",
                    "email": "ada@example.com",
                    "email_verified": True,
                    "pending_email": None,
                    "full_name": "Ada Lovelace",
                    "disabled": False,
                    "role": "user",
                    "two_factor": False,
                    "created_at": "2027-01-31T09:15:00.123Z",
                    "updated_at": "2027-01-31T09:15:00.123Z",
                }
            ]
        }
    )

    id: Annotated[Id, Field(validation_alias="_id")]
    username: str
    email: str | None = None
    email_verified: Annotated[bool, Field(description="Whether the address is verified.")] = False
    pending_email: Annotated[str | None, Field(description="Replaces `email` once it is verified.")] = None
    full_name: str | None = None
    disabled: bool
    role: Role = "user"
    two_factor: bool = False
    created_at: UTCDateTime
    updated_at: UTCDateTime

    @cached_property
    def object_id(self) -> ObjectId:
        """The id as an ``ObjectId``."""
        return ObjectId(self.id)

    @property
    def unverified_email(self) -> str | None:
        """The address that is to be verified: the pending one, or the account's own."""
        return self.pending_email or (None if self.email_verified else self.email)


class UserName(Protocol):
    """What tasks show of their owner."""

    @property
    def id(self) -> str: ...

    @property
    def username(self) -> str: ...


class Account(UserRead):
    """An account as authentication reads it: with its live sessions, and how often its name has changed."""

    sessions: Annotated[list[Any], Field(default_factory=list, exclude=True)]
    renames: Annotated[int, Field(exclude=True)] = 0
