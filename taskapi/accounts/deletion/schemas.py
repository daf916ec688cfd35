"""The schemas of account deletion."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from taskapi.accounts.users.schemas import CurrentPassword
from taskapi.core.fields import UTCDateTime


class Departure(BaseModel):
    """The confirmation that deletes your account."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"password": "correct horse battery"}]})

    password: CurrentPassword


class LeavingRead(BaseModel):
    """When an account will be erased."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"requested_at": "2027-01-31T09:15:00.123Z", "due_at": "2027-02-14T09:15:00.123Z"}]}
    )

    requested_at: UTCDateTime
    due_at: Annotated[UTCDateTime, Field(description="Until then, signing in cancels the deletion.")]
