"""Events as callers see them."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from taskapi.core.fields import OBJECT_ID_EXAMPLE, Id, UTCDateTime, in_words, omittable
from taskapi.events.positions import MAX_LENGTH
from taskapi.tasks.schemas import READ_EXAMPLE, TaskRead

POSITION_EXAMPLE = "kZ0pVvXk2lq8mJm1o1bJ7VYAAAAEAF4AAAAFMAAIAAAAALx6Y0Qz"

PositionText = Annotated[
    str,
    Field(
        pattern="^[A-Za-z0-9_-]+$",
        max_length=MAX_LENGTH,
        description="A position: the `id` of an event, or the `position` or `next` of an answer. It is opaque, and "
        "valid for your account alone.",
        examples=[POSITION_EXAMPLE],
    ),
    in_words("must be a position as it was given: letters, digits, hyphens and underscores"),
]


class EventType(StrEnum):
    """What has happened to a task."""

    created = "task.created"
    updated = "task.updated"
    deleted = "task.deleted"
    restored = "task.restored"
    purged = "task.purged"
    left = "task.left"


EVENT_EXAMPLE: dict[str, Any] = {
    "id": POSITION_EXAMPLE,
    "type": "task.updated",
    "at": READ_EXAMPLE["updated_at"],
    "task_id": OBJECT_ID_EXAMPLE,
    "version": READ_EXAMPLE["version"],
    "changed": ["title"],
    "task": READ_EXAMPLE,
}


class TaskEvent(BaseModel):
    """What has happened to a task."""

    model_config = ConfigDict(json_schema_extra={"examples": [EVENT_EXAMPLE]})

    id: PositionText = Field(description="The position behind the event: send it to go on from here.")
    type: EventType = Field(
        description="`task.deleted` is a move to the trash, `task.purged` the end. `task.left` is for those who filter: the task "
        "has changed, and does not match the filter now."
    )
    at: UTCDateTime = Field(description="When the task was written.")
    task_id: Id
    version: int = Field(description="The version that the write created. Ignore an event that is older than your copy.")
    changed: list[str] = Field(description="The fields that the write changed, for `task.updated` and `task.left`.")
    task: TaskRead = omittable(
        description="The task as it is now, which may be newer than the event. Absent if it is not there, or does not match."
    )
