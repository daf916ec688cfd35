"""The stored shape of webhooks and of what is delivered to them."""

from datetime import datetime
from typing import Annotated, ClassVar, Final, Literal

from beanie import Document, PydanticObjectId
from pydantic import Field
from pymongo import ASCENDING, DESCENDING

from taskapi.core.fields import omittable
from taskapi.db.connection import BSON
from taskapi.db.indexes import Index
from taskapi.db.schema import Confidential

MAX_WEBHOOKS: Final = 20  # of one account
MAX_URL_LENGTH: Final = 2048
MAX_DESCRIPTION_LENGTH: Final = 200
MAX_ANSWER_CHARACTERS: Final = 1024
MAX_IN_FLIGHT_TO_HOST: Final = 5  # of all workers together
MAX_PENDING: Final = 10_000  # deliveries of one webhook

TaskEventType = Literal["task.created", "task.updated", "task.deleted", "task.restored", "task.purged", "task.left"]
DeliveryType = Literal[
    "task.created",
    "task.updated",
    "task.deleted",
    "task.restored",
    "task.purged",
    "task.left",
    "webhook.ping",
    "webhook.gap",
]
DisabledReason = Literal["owner", "gone", "failing"]
DeliveryStatus = Literal["pending", "delivered", "failed"]
DeliveryError = Literal["timeout", "refused", "unreachable", "webhook_disabled", "account_inactive", "secret_unreadable"]
PENDING: Final[BSON] = {"status": "pending"}


class WebhookDocument(Document):
    """A webhook: where events of an account's tasks are sent."""

    user: PydanticObjectId
    """The ``_id`` of the account."""
    url: Annotated[str, Field(min_length=1, max_length=MAX_URL_LENGTH)]
    """Where events are sent by ``POST``."""
    events: Annotated[tuple[TaskEventType, ...], Field(min_length=1, max_length=6)]
    """The types of the events that are sent."""
    where: str | None
    """The filter of tasks as its owner sent it, in JSON; null without one."""
    description: Annotated[str, Field(max_length=MAX_DESCRIPTION_LENGTH)]
    """The owner's own words."""
    enabled: bool
    """If false, nothing is sent."""
    disabled_reason: DisabledReason | None
    """Why nothing is sent: the owner said so, the receiver answered 410, or it failed for five days. Null if enabled."""
    secret: Annotated[bytes, Confidential()]
    """The secret that signs, encrypted (Fernet) with a key derived from the service's secret."""
    previous_secret: Annotated[bytes, Confidential()] = omittable()
    """The secret before it was rotated, encrypted likewise, with those before it that still sign."""
    previous_secret_until: datetime = omittable()
    """Until when the previous secret signs as well."""
    begins_after: str
    """Where the webhook begins in MongoDB's change stream, a time in seconds and an ordinal: when it was last enabled."""
    failing_since: datetime | None
    """When the first of the attempts failed that have failed without a success in between; null if the last one succeeded."""
    version: Annotated[int, Field(ge=1)]
    """Incremented by each change."""
    created_at: datetime
    """When the webhook was created."""
    updated_at: datetime
    """When the webhook last changed."""

    class Settings:
        name = "webhooks"
        is_internal = True
        indexes: ClassVar = [
            Index([("user", ASCENDING), ("_id", ASCENDING)], name="webhook_user", serves="the webhooks of one account"),
            Index(
                [("enabled", ASCENDING)],
                name="webhook_enabled",
                serves="finding the webhooks that events are sent to",
                partialFilterExpression={"enabled": True},
            ),
        ]


class WebhookDeliveryDocument(Document):
    """An event that was or will be sent to a webhook. It is kept for 30 days."""

    user: PydanticObjectId
    """The ``_id`` of the account."""
    hook: PydanticObjectId
    """The ``_id`` of the webhook."""
    event: str
    """Identifies the event, so that a webhook gets it once: the place of the change in MongoDB's change stream, in whose order
    events of a task are sent; for events of the webhook itself, a text that begins with ``webhook``."""
    position: str | None
    """The position that the event has for its owner; null for a ping."""
    type: DeliveryType
    """The type of the event."""
    task: PydanticObjectId | None
    """The ``_id`` of the task; null for events of the webhook itself."""
    body: bytes
    """What is sent, in JSON."""
    status: DeliveryStatus
    """``pending`` until an attempt succeeds or no more are made."""
    attempts: Annotated[int, Field(ge=0)]
    """How many attempts were begun."""
    next_attempt_at: datetime
    """When the next attempt is due, while pending."""
    give_up_at: datetime
    """When no more attempts are made."""
    leased_until: datetime
    """Until when a worker has the delivery to itself."""
    slot: str = omittable()
    """The host and the number of the connection that the attempt uses: each exists once. Present during an attempt."""
    attempted_at: datetime | None
    """When the last attempt ended."""
    code: int | None
    """The HTTP status that the last attempt got."""
    duration_ms: int | None
    """How long the last attempt took, in milliseconds."""
    answer: Annotated[str, Field(max_length=MAX_ANSWER_CHARACTERS)] | None
    """The first KiB of the answer that the last attempt got."""
    error: DeliveryError | None
    """Why the last attempt got no answer, or why none was made."""
    created_at: datetime
    """When the event was noticed."""
    expires_at: datetime
    """When MongoDB removes the delivery."""

    class Settings:
        name = "webhook_deliveries"
        is_internal = True
        indexes: ClassVar = [
            Index(
                [("hook", ASCENDING), ("event", ASCENDING)],
                name="delivery_event",
                serves="sending each event once to a webhook",
                unique=True,
            ),
            Index(
                [("hook", ASCENDING), ("_id", DESCENDING)],
                name="delivery_newest",
                serves="the deliveries of one webhook, newest first",
            ),
            Index(
                [("status", ASCENDING), ("hook", ASCENDING), ("next_attempt_at", ASCENDING), ("event", ASCENDING)],
                name="delivery_due",
                serves="finding the next deliveries of a webhook that are due",
                partialFilterExpression=PENDING,
            ),
            Index(
                [("hook", ASCENDING), ("task", ASCENDING), ("event", ASCENDING)],
                name="delivery_order",
                serves="sending the events of a task in order",
                partialFilterExpression=PENDING,
            ),
            Index(
                [("slot", ASCENDING)],
                name="delivery_slot",
                serves="limiting the attempts at one host",
                unique=True,
                partialFilterExpression={"slot": {"$exists": True}},
            ),
            Index(
                [("user", ASCENDING), ("_id", ASCENDING)],
                name="delivery_user",
                serves="exporting and erasing an account",
            ),
            Index(
                [("expires_at", ASCENDING)],
                name="delivery_expiry",
                serves="the removal of old deliveries",
                expireAfterSeconds=0,
            ),
        ]
