"""The schema of reading sessions."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from taskapi.accounts.security.scopes import Scope
from taskapi.core.fields import OBJECT_ID_EXAMPLE, Id, UTCDateTime


class SessionRead(BaseModel):
    """One session: a sign-in that has not ended."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": OBJECT_ID_EXAMPLE,
                    "created_at": "2027-01-31T09:15:00.123Z",
                    "last_seen_at": "2027-01-31T10:02:11.456Z",
                    "expires_at": "2027-03-02T09:45:00.123Z",
                    "address": "192.0.2.7",
                    "agent": "curl/8.5.0",
                    "scopes": ["account", "tasks:read", "tasks:write"],
                    "current": True,
                }
            ]
        }
    )

    id: Annotated[Id, Field(validation_alias="_id")]
    created_at: UTCDateTime
    last_seen_at: Annotated[UTCDateTime, Field(description="Up to a minute behind.")]
    expires_at: Annotated[UTCDateTime, Field(description="When it ends, unless it is refreshed first.")]
    address: str
    agent: Annotated[str, Field(description="The start of the User-Agent.")]
    scopes: list[Scope]
    current: Annotated[bool, Field(description="Whether this request belongs to it.")]
