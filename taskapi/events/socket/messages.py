"""The messages of a connection: JSON objects with a ``type``."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from taskapi.accounts.security.access_tokens import MAX_TOKEN_LENGTH
from taskapi.core import strict_json
from taskapi.core.errors import DomainError, InvalidInput, NotAuthenticated, field_errors
from taskapi.core.fields import in_words, omittable
from taskapi.events.errors import BadMessage
from taskapi.events.filters import EventFilter
from taskapi.events.follower import ResetReason
from taskapi.events.schemas import POSITION_EXAMPLE, PositionText, TaskEvent
from taskapi.web.problems import ProblemDetail

MAX_WINDOW: Final = 1000
MAX_FIRST_LENGTH: Final = 2 * MAX_TOKEN_LENGTH  # characters of the message with the token
ID: Final = re.compile("[A-Za-z0-9._-]{1,64}")

SubscriptionId = Annotated[
    str,
    Field(
        pattern=f"^{ID.pattern}$",
        description="The name that you give the subscription: unique in the connection.",
        examples=["open"],
    ),
    in_words("must be 1 to 64 letters from A to Z, digits, full stops, hyphens and underscores"),
]


def _example(**members: Any) -> ConfigDict:
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [members]})


class Authenticate(BaseModel):
    """Your token, if you have not sent it with the handshake. It must be the first message."""

    model_config = _example(**{"type": "authenticate", "token": "tsk_0123456789ABCDEFGHIJKLMNOPQRSTxxxxxx"})  # noqa: PIE804

    type: Literal["authenticate"]
    token: Annotated[str, Field(max_length=MAX_TOKEN_LENGTH, description="An access token or an API token.")]


class Subscribe(EventFilter):
    """Asks for the events of your tasks, or of those that match a filter; at most 20 times in a connection."""

    model_config = _example(type="subscribe", id="open", where={"priority": {"$gte": 4}}, status="todo", since=POSITION_EXAMPLE)

    type: Literal["subscribe"]
    id: SubscriptionId
    since: Annotated[PositionText | None, Field(description="Where to go on. Without it, from now on.")] = None
    window: Annotated[
        int | None,
        Field(strict=True, ge=1, le=MAX_WINDOW, description="How many events may wait for your `ack`. Without it, any number."),
    ] = None


class Unsubscribe(BaseModel):
    """Ends a subscription."""

    model_config = _example(type="unsubscribe", id="open")

    type: Literal["unsubscribe"]
    id: SubscriptionId


class Ack(BaseModel):
    """Says that you are done with an event and all before it. With a `window`, as many more may come."""

    model_config = _example(type="ack", id="open", position=POSITION_EXAMPLE)

    type: Literal["ack"]
    id: SubscriptionId
    position: PositionText


class Ping(BaseModel):
    """Asks whether the server is there: for browsers, which cannot send pings of the protocol."""

    model_config = _example(type="ping")

    type: Literal["ping"]


class Ready(BaseModel):
    """You are authenticated."""

    model_config = _example(type="ready")

    type: Literal["ready"]


class Subscribed(BaseModel):
    """The subscription begins at the position: its events follow."""

    model_config = _example(type="subscribed", id="open", position=POSITION_EXAMPLE)

    type: Literal["subscribed"]
    id: SubscriptionId
    position: PositionText


class Event(BaseModel):
    """An event of a subscription."""

    type: Literal["event"]
    subscription: SubscriptionId
    event: TaskEvent


class Reset(BaseModel):
    """It is not known what has happened before the position: load the list anew. The subscription goes on from there."""

    model_config = _example(
        type="reset",
        subscription="open",
        reason="slow",
        message="You read more slowly than things happen. Load your list anew.",
        list="/tasks?status=todo",
        position=POSITION_EXAMPLE,
    )

    type: Literal["reset"]
    subscription: SubscriptionId
    reason: ResetReason
    message: str
    list: Annotated[str, Field(description="Where to load what the subscription tells of.")]
    position: PositionText


class Heartbeat(BaseModel):
    """For a minute, there was nothing to tell up to the position: go on from there, rather than from an older one."""

    model_config = _example(type="heartbeat", subscription="open", position=POSITION_EXAMPLE)

    type: Literal["heartbeat"]
    subscription: SubscriptionId
    position: PositionText


class Unsubscribed(BaseModel):
    """The subscription has ended; nothing more of it follows."""

    model_config = _example(type="unsubscribed", id="open")

    type: Literal["unsubscribed"]
    id: SubscriptionId


class Acknowledged(BaseModel):
    """The answer to `ack`."""

    model_config = _example(type="acknowledged", id="open", position=POSITION_EXAMPLE)

    type: Literal["acknowledged"]
    id: SubscriptionId
    position: PositionText


class Pong(BaseModel):
    """The answer to `ping`."""

    model_config = _example(type="pong")

    type: Literal["pong"]


class Error(BaseModel):
    """A message cannot be fulfilled, or a subscription has ended. The connection goes on."""

    model_config = _example(type="error", code="unknown_subscription", message="There is no such subscription.", id="open")

    type: Literal["error"]
    code: Annotated[str, Field(description="A stable code for programs, as in problems of the API.")]
    message: Annotated[str, Field(description="A sentence for people.")]
    id: SubscriptionId = omittable(description="The subscription, if one is concerned.")
    details: list[ProblemDetail] = omittable(description="The invalid values, for `validation_error`.")


ClientMessage = Authenticate | Subscribe | Unsubscribe | Ack | Ping
CLIENT: Final[Mapping[str, type[ClientMessage]]] = {
    "authenticate": Authenticate,
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "ack": Ack,
    "ping": Ping,
}
SERVER: Final[Mapping[str, type[BaseModel]]] = {
    "ready": Ready,
    "subscribed": Subscribed,
    "event": Event,
    "reset": Reset,
    "heartbeat": Heartbeat,
    "unsubscribed": Unsubscribed,
    "acknowledged": Acknowledged,
    "pong": Pong,
    "error": Error,
}


class InvalidMessage(InvalidInput):
    """A message of a known type has invalid values; ``id`` is that of the subscription, if it has a valid one."""

    subscription: str | None = None


def read_message(text: str | None) -> ClientMessage:
    """The message that a client has sent; None for a binary one.

    Raises:
        BadMessage: it is no JSON object of a known type.
        InvalidMessage: names each wrong member.
    """
    value, model = _read_object(text)
    try:
        return model.model_validate(value)
    except (ValidationError, InvalidInput) as error:  # the latter for a filter
        refused = InvalidMessage(error.faults if isinstance(error, InvalidInput) else field_errors(error))
        if isinstance(name := value.get("id"), str) and ID.fullmatch(name):
            refused.subscription = name
        raise refused from None


def _read_object(text: str | None) -> tuple[dict[str, Any], type[ClientMessage]]:
    """A message as JSON, and its model. Raises BadMessage."""
    if text is None:
        raise BadMessage("Messages are text, not binary.")
    try:
        value = strict_json.read_json(text.encode(), "The message")
    except DomainError as error:
        raise BadMessage(error.detail) from None
    kind = value.get("type") if isinstance(value, dict) else None
    model = CLIENT.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise BadMessage(f"A message is a JSON object whose `type` is {', '.join(list(CLIENT)[:-1])} or {list(CLIENT)[-1]}.")
    return value, model


def read_token(text: str | None) -> str:
    """The token in the first message of a client, of whom nothing is known yet: no other message is read.

    Raises:
        BadMessage, InvalidMessage: it is no message, is too long, or its token is none.
        NotAuthenticated: it is another message.
    """
    if text is not None and len(text) > MAX_FIRST_LENGTH:
        raise BadMessage("The first message is longer than one with a token.")
    value, model = _read_object(text)
    if model is not Authenticate:
        raise NotAuthenticated
    try:
        return Authenticate.model_validate(value).token
    except ValidationError as error:
        raise InvalidMessage(field_errors(error)) from None


def error_message(error: DomainError, subscription: str | None = None) -> str:
    """The message for an error."""
    body: dict[str, Any] = {"type": "error", "code": error.code, "message": error.detail}
    if subscription is not None:
        body["id"] = subscription
    if error.faults is not None:
        body["details"] = [asdict(fault) for fault in error.faults]
    return json.dumps(body, separators=(",", ":"))


def event_message(subscription: str, event: bytes) -> str:
    """The message for an event, which is JSON already."""
    return f'{{"type":"event","subscription":"{subscription}","event":{event.decode()}}}'  # such an id needs no escapes
