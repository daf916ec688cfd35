"""Webhooks and deliveries as callers send and see them."""

from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool
from pydantic_core import PydanticCustomError, from_json

from taskapi.core.fields import (
    OBJECT_ID_EXAMPLE,
    Composed,
    Distinct,
    Id,
    Plain,
    ReadModel,
    Trimmed,
    UTCDateTime,
    omittable,
)
from taskapi.tasks.query.filter import WhereDocument
from taskapi.tasks.schemas import Link
from taskapi.web.pagination import PageQuery
from taskapi.webhooks.documents import (
    MAX_DESCRIPTION_LENGTH,
    MAX_URL_LENGTH,
    DeliveryError,
    DeliveryStatus,
    DeliveryType,
    DisabledReason,
    TaskEventType,
)

ALL_EVENTS: tuple[TaskEventType, ...] = get_args(TaskEventType)
SECRET_EXAMPLE = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="  # noqa: S105
EXAMPLE: dict[str, Any] = {
    "url": "https://example.com/hooks/tasks",
    "events": ["task.created", "task.updated"],
    "where": {"tags": "work"},
    "description": "Feeds the wall display",
}
READ_EXAMPLE: dict[str, Any] = {
    "id": OBJECT_ID_EXAMPLE,
    **EXAMPLE,
    "enabled": True,
    "disabled_reason": None,
    "failing_since": None,
    "previous_secret_until": None,
    "version": 1,
    "created_at": "2027-01-31T09:15:00.123Z",
    "updated_at": "2027-01-31T09:15:00.123Z",
}


def _without_fragment(url: str) -> str:
    if "#" in url:
        raise PydanticCustomError("url_fragment", "must not have a fragment (#…)")
    return url


Url = Annotated[Link, Field(max_length=MAX_URL_LENGTH), AfterValidator(_without_fragment)]
Events = Annotated[list[TaskEventType], Field(min_length=1, max_length=len(ALL_EVENTS)), Distinct]
Description = Annotated[str, Trimmed, Field(max_length=MAX_DESCRIPTION_LENGTH), Plain, Composed]


class WebhookCreate(BaseModel):
    """A new webhook."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})

    url: Annotated[Url, Field(description="Where events are sent by POST: an https address on the public internet.")]
    events: Annotated[Events, Field(description="The types of the events to send; all by default.")] = list(ALL_EVENTS)
    where: Annotated[WhereDocument | None, Field(description="Only events of tasks that match.")] = None
    description: Description = ""
    enabled: StrictBool = True


class WebhookUpdate(BaseModel):
    """Changes to a webhook: only the fields that are sent. Null removes `where`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"events": ["task.deleted"], "enabled": True}]})

    url: Url = omittable()
    events: Events = omittable()
    where: WhereDocument | None = omittable()
    description: Description = omittable()
    enabled: StrictBool = omittable(description="True also ends the state in which the server put a webhook that had failed.")


class WebhookRead(ReadModel):
    """A webhook, without its secret."""

    model_config = ConfigDict(json_schema_extra={"examples": [READ_EXAMPLE]})

    id: Annotated[Id, Field(validation_alias="_id")]
    url: str
    events: list[TaskEventType]
    where: dict[str, Any] | None
    description: str
    enabled: bool
    disabled_reason: Annotated[
        DisabledReason | None,
        Field(description="`owner`: you disabled it. `gone`: the receiver answered 410. `failing`: it failed for five days."),
    ]
    failing_since: Annotated[
        UTCDateTime | None, Field(description="Since when no attempt has succeeded, if the last one failed.")
    ]
    previous_secret_until: Annotated[
        UTCDateTime | None, Field(description="Until when the secret before the rotation signs as well.")
    ] = None
    version: int
    created_at: UTCDateTime
    updated_at: UTCDateTime


class WebhookMade(WebhookRead):
    """A webhook with its secret, which is shown only here."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**READ_EXAMPLE, "secret": SECRET_EXAMPLE}]})

    secret: Annotated[str, Field(description="Verifies the signatures of what is sent. It cannot be shown again.")]


def _text(value: Any) -> Any:
    return None if value is None else str(value)


class DeliveryQuery(PageQuery):
    """Selects a page of the deliveries to a webhook."""

    status: DeliveryStatus | None = Field(None, description="Only deliveries with this status.")


class DeliveryRead(ReadModel):
    """An event that was or will be sent to a webhook."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": OBJECT_ID_EXAMPLE,
                    "type": "task.updated",
                    "event_id": "kZ0pVvXk2lq8mJm1o1bJ7VYAAAAEAF4AAAAFMAAIAAAAALx6Y0Qz",
                    "task_id": "65f1a2b3c4d5e6f708192a3c",
                    "status": "pending",
                    "attempts": 2,
                    "next_attempt_at": "2027-01-31T09:15:36.123Z",
                    "attempted_at": "2027-01-31T09:15:06.123Z",
                    "code": 503,
                    "duration_ms": 48,
                    "answer": "Down for maintenance.",
                    "error": None,
                    "created_at": "2027-01-31T09:15:00.123Z",
                }
            ]
        }
    )

    id: Annotated[Id, Field(validation_alias="_id", description="Also the header `webhook-id`, after `msg_`.")]
    type: DeliveryType
    event_id: Annotated[
        str | None, Field(validation_alias="position", description="The `id` of the event: a position; null for a ping.")
    ]
    task_id: Annotated[Annotated[str, Field(min_length=24, max_length=24)] | None, BeforeValidator(_text)] = Field(
        validation_alias="task"
    )
    status: DeliveryStatus
    attempts: int
    next_attempt_at: Annotated[UTCDateTime | None, Field(description="When it is sent next, if it is pending.")]
    attempted_at: UTCDateTime | None
    code: Annotated[int | None, Field(description="The HTTP status of the last attempt, if there was an answer.")]
    duration_ms: Annotated[int | None, Field(description="How long the last attempt took.")]
    answer: Annotated[str | None, Field(description="The first KiB of the last answer.")]
    error: Annotated[
        DeliveryError | None,
        Field(
            description="Why there is no answer. `timeout`: none within 10 s. `refused`: the address is not public. "
            "`unreachable`: no connection, or it broke off. `webhook_disabled`, `account_inactive`: no attempt is made. "
            "`secret_unreadable`: the server cannot sign; rotate the secret."
        ),
    ]
    created_at: UTCDateTime


def _parsed(body: Any) -> Any:
    if body is None:
        return None
    if not isinstance(body, bytes | str):
        raise ValueError("must be JSON")
    return from_json(body, allow_inf_nan=False)


class ExportedDelivery(DeliveryRead):
    """A delivery in the export of an account, with what is sent."""

    webhook_id: Annotated[Id, Field(validation_alias="hook")]
    payload: Annotated[dict[str, Any] | None, BeforeValidator(_parsed), Field(validation_alias="body")]
