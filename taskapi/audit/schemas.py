"""The schemas of reading security events."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from taskapi.audit.documents import Kind, Outcome
from taskapi.core.fields import OBJECT_ID_EXAMPLE, Id, ObjectIdIn, UTCDateTime
from taskapi.web.pagination import PageQuery


def _id_text(value: Any) -> Any:
    return value if value is None else str(value)


Who = Annotated[
    Annotated[str, Field(min_length=24, max_length=24)] | None,
    BeforeValidator(_id_text),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": "^[0-9a-f]{24}$"}, {"type": "null"}]}),
]


class EventQuery(PageQuery):
    """Selects a page of the caller's own events."""

    kind: Kind | None = Field(None, description="Only events of this kind.")


class AllEventsQuery(EventQuery):
    """Selects a page of the events of all accounts."""

    user: ObjectIdIn | None = Field(None, description="Only events about the account with this id.")
    outcome: Outcome | None = Field(None, description="Only successes, or only failures.")


class SecurityEventRead(BaseModel):
    """Something that happened to an account, or was attempted."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": OBJECT_ID_EXAMPLE,
                    "at": "2027-01-31T09:15:00.123Z",
                    "kind": "sign_in",
                    "outcome": "success",
                    "user": OBJECT_ID_EXAMPLE,
                    "by": None,
                    "address": "192.0.2.7",
                    "agent": "curl/8.5.0",
                    "request_id": "0f8fad5bd9cb469fa165b70867728950",
                    "details": {"session": "65f1a2b3c4d5e6f708192a3c"},
                }
            ]
        }
    )

    id: Annotated[Id, Field(validation_alias="_id")]
    at: UTCDateTime
    kind: str
    outcome: Outcome
    user: Annotated[Who, Field(description="The account; null if no account has the name that was tried.")]
    by: Annotated[Who, Field(description="The admin who did it, if any; all zeros if the admin's account has been erased.")]
    address: Annotated[str, Field(description="The IP address; empty for what others did to your account.")]
    agent: Annotated[str, Field(description="The start of the `User-Agent`.")]
    request_id: str
    details: dict[str, str]
