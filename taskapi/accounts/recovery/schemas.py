"""The schemas of resetting a password and verifying an e-mail address."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from taskapi.accounts.users.schemas import Email, Password
from taskapi.core.fields import Storable

TOKEN_EXAMPLE = "9Qm3xJ0cWnT5hKqfB2vYdR8sL1uEoZ7aPgXi4NtMwVk"  # noqa: S105

MailedToken = Annotated[str, Field(min_length=1, max_length=200, description="From the mail."), Storable]


class ForgottenPassword(BaseModel):
    """The account whose password was forgotten."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"email": "ada@example.com"}]})

    email: Email


class PasswordReset(BaseModel):
    """A new password, and the token that allows it."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"token": TOKEN_EXAMPLE, "password": "a staple of batteries"}]}
    )

    token: MailedToken
    password: Password


class EmailVerification(BaseModel):
    """The token that was mailed to an address."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"token": TOKEN_EXAMPLE}]})

    token: MailedToken
