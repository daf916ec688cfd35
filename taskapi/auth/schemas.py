"""What signing in takes and gives."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from taskapi.fields import Storable


class SignIn(BaseModel):
    """The OAuth 2 password grant (RFC 6749, section 4.3)."""

    model_config = ConfigDict(extra="ignore")  # section 3.2: unrecognised parameters are ignored

    grant_type: Literal["password"] = "password"
    username: Annotated[str, Field(max_length=1000), Storable]
    password: Annotated[str, Field(max_length=1000, json_schema_extra={"format": "password"}), Storable]


class Token(BaseModel):
    """An access token (RFC 6749, section 5.1)."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"access_token": "eyJhbGciOi…", "token_type": "bearer", "expires_in": 1800}]}
    )

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105
    expires_in: int = Field(description="Seconds until it expires.")
