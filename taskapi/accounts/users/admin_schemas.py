"""The schemas of accounts for admins."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool

from taskapi.accounts.security.scopes import Role
from taskapi.accounts.users.schemas import Password, UserRead
from taskapi.core.fields import QueryBool, Storable, Trimmed, UTCDateTime, omittable
from taskapi.web.pagination import PageQuery

USER_READ: Any = UserRead.model_config["json_schema_extra"]


class UserQuery(PageQuery):
    """Selects a page of accounts."""

    q: Annotated[str, Trimmed, Field(min_length=1, max_length=100), Storable] | None = Field(
        None,
        description="Part of the user name, the e-mail address or the full name, ignoring case. "
        "This reads every account, and is aborted after the query timeout (503).",
    )
    role: Role | None = Field(None, description="Accounts with this role.")
    disabled: QueryBool | None = Field(None, description="Whether the account is disabled.")


def _count(sessions: Any) -> int:
    if not isinstance(sessions, list):
        raise ValueError("no list")
    return len(sessions)


def _due(leaving: Any) -> Any:
    if leaving is not None and not isinstance(leaving, dict):
        raise ValueError("no object")
    return leaving and leaving.get("due_at")


class UserForAdmin(UserRead):
    """An account as an admin sees it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**USER_READ["examples"][0], "sessions": 2, "leaves_at": None}]})

    sessions: Annotated[int, BeforeValidator(_count), Field(description="Number of active sessions.")] = 0
    leaves_at: Annotated[
        UTCDateTime | None,
        BeforeValidator(_due),
        Field(validation_alias="leaving", description="When the account will be erased, unless its owner signs in."),
    ] = None


class AccountChange(BaseModel):
    """Changes to an account by an admin: only the fields that are sent."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"disabled": True}]})

    disabled: StrictBool = omittable(description="A disabled account cannot sign in; its sessions and API tokens are removed.")
    role: Role = omittable(
        description="A new role applies from the next sign-in. An admin who loses the role is signed out, and their API tokens "
        "lose `admin`, or are deleted if they have no other scope."
    )


class NewPassword(BaseModel):
    """A password that an operator sets for an account."""

    password: Password
