"""The schemas of signing in and out."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from taskapi.core.fields import ReadModel, Secret, Storable, Trimmed

Text = Annotated[str, Field(max_length=1000), Storable]
Name = Annotated[str, Trimmed, Field(max_length=1000), Storable]


class TokenRequest(BaseModel):
    """The OAuth 2 password and refresh grants (RFC 6749, sections 4.3 and 6)."""

    model_config = ConfigDict(extra="ignore")  # section 3.2: unrecognised parameters are ignored

    grant_type: Literal["password", "refresh_token"] = "password"
    username: Annotated[Name | None, Field(description="For the grant `password`.")] = None
    password: Annotated[Secret | None, Field(description="For the grant `password`.")] = None
    otp: Annotated[Secret | None, Field(description="With a second factor: a code from your app, or a recovery code.")] = None
    refresh_token: Annotated[Secret | None, Field(description="For the grant `refresh_token`.")] = None
    scope: Annotated[Text, Field(description="The scopes you want, separated by spaces; empty: all that you can have.")] = ""


class Token(ReadModel):
    """An access token and a refresh token (RFC 6749, section 5.1)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "access_token": "eyJhbGciOi…",
                    "token_type": "bearer",
                    "expires_in": 1800,
                    "refresh_token": "tsr_aSkM1…",
                    "scope": "account tasks:read tasks:write",
                }
            ]
        }
    )

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105
    expires_in: int = Field(description="Seconds until the access token expires.")
    refresh_token: str = Field(description="Can be used once; the answer contains the next one.")
    scope: str = Field(description="The scopes of the access token, separated by spaces.")


class Revocation(BaseModel):
    """A token to revoke (RFC 7009, section 2.1)."""

    model_config = ConfigDict(extra="ignore")

    token: Secret
    token_type_hint: Annotated[Text | None, Field(description="Not needed: the token shows its type.")] = None
