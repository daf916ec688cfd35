"""API tokens as their owners send and see them."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from taskapi.accounts.security.scopes import MEANING, Scope
from taskapi.accounts.users.documents import MAX_TOKEN_DAYS, TokenName
from taskapi.core.fields import OBJECT_ID_EXAMPLE, Id, UTCDateTime

TOKEN_EXAMPLE: dict[str, Any] = {"name": "nightly report", "scopes": ["tasks:read"]}
READ_EXAMPLE: dict[str, Any] = {
    "id": OBJECT_ID_EXAMPLE,
    **TOKEN_EXAMPLE,
    "created_at": "2027-01-31T09:15:00.123Z",
    "expires_at": "2027-05-01T09:15:00.123Z",
    "last_used_at": None,
}


class ApiTokenCreate(BaseModel):
    """A new API token."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{**TOKEN_EXAMPLE, "expires_in_days": 90}]})

    name: Annotated[TokenName, Field(description="Unique among your tokens, ignoring case.")]
    scopes: Annotated[
        list[Scope],
        Field(min_length=1, max_length=len(MEANING), description="Only scopes that your current session has."),
    ]
    expires_in_days: Annotated[int, Field(strict=True, ge=1, le=MAX_TOKEN_DAYS)] = 90


class ApiTokenRead(BaseModel):
    """An API token, without its secret."""

    model_config = ConfigDict(json_schema_extra={"examples": [READ_EXAMPLE]})

    id: Id
    name: str
    scopes: list[Scope]
    created_at: UTCDateTime
    expires_at: Annotated[UTCDateTime, Field(description="When it expires.")]
    last_used_at: Annotated[UTCDateTime | None, Field(description="Updated at most once a minute.")]


class ApiTokenMade(ApiTokenRead):
    """An API token with its secret, which is shown only here."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{**READ_EXAMPLE, "token": "tsk_0123456789ABCDEFGHIJKLMNOPQRSTxxxxxx"}]}
    )

    token: Annotated[str, Field(description="Send it as `Authorization: Bearer …`. It cannot be shown again.")]
