"""The stored form of a task."""

from datetime import datetime
from typing import Annotated, Any, ClassVar

from beanie import Document, PydanticObjectId
from pydantic import BaseModel, Field

from taskapi.core.fields import omittable
from taskapi.db.validators import BSONSchema, Since
from taskapi.tasks.schemas import (
    MAX_ITEMS,
    Description,
    EstimateMinutes,
    ItemText,
    Key,
    Links,
    Priority,
    Status,
    Tags,
    Title,
)
from taskapi.tasks.storage import validation
from taskapi.tasks.storage.history import MAX_ENTRIES, Action
from taskapi.tasks.storage.indexes import FORMER_INDEXES, INDEXES, MOVED_INTO_TRASH, MOVED_OUT_OF_TRASH
from taskapi.tasks.storage.marks import MAX_STATUS_CHANGES
from taskapi.tasks.storage.scope import State


class Owner(BaseModel):
    """The embedded reference to a user, with a copy of the account's name that follows it."""

    id: PydanticObjectId
    username: str


class Item(BaseModel):
    """An item of a checklist."""

    id: PydanticObjectId
    text: ItemText
    done: bool


class Trash(BaseModel):
    """What a task in the trash has in place of its owner."""

    owner: Owner
    deleted_at: datetime
    expires_at: datetime


class Entry(BaseModel):
    """One write in the history of a task."""

    version: Annotated[int, Field(ge=1)]  # the version that it created
    at: datetime
    by: Owner
    action: Action
    request_id: str
    before: dict[str, Any]  # the previous values of the fields that it changed


class Tombstone(BaseModel):
    """What is left of a purged task, so that scripts that load what has changed learn of it. No route shows it.

    It holds nothing that the owner wrote, but the id, which a repeated request would use again.
    """

    id: PydanticObjectId
    owner_id: PydanticObjectId
    state: State
    created_at: datetime
    version: int
    changed_at: datetime  # when the task was purged
    expires_at: datetime  # when MongoDB removes the tombstone


class StatusChange(BaseModel):
    """The beginning of a period in which the task had a status."""

    status: Status
    at: datetime


class TaskDocument(Document):
    """A task of an owner, or in the trash."""

    owner_id: Annotated[PydanticObjectId, Since("1.5")]  # never changes, in any state
    state: Annotated[State, Since("1.5")]
    title: Title
    description: Description
    status: Status
    completed: bool
    completed_at: datetime | None
    priority: Priority
    due_date: datetime | None  # midnight UTC of the day
    start_date: datetime | None = None  # likewise
    estimate_minutes: EstimateMinutes | None = None
    tags: Tags
    links: Links
    checklist: Annotated[list[Item], Field(max_length=MAX_ITEMS)]
    progress: Annotated[float, Field(ge=0, le=1)]
    metadata: Annotated[dict[str, Any], BSONSchema(validation.METADATA)]
    key: Key = omittable()  # absent without one
    owner: Owner = omittable()  # absent in the trash
    trash: Trash = omittable()  # absent outside of it
    created_at: datetime
    updated_at: datetime
    version: Annotated[int, Field(ge=1)]
    changed_at: Annotated[datetime, Since("1.5")]  # the last write, whatever wrote
    # oldest first, from the creation on
    status_changes: Annotated[list[StatusChange], Field(max_length=MAX_STATUS_CHANGES), Since("1.5")]
    history: Annotated[list[Entry], Field(max_length=MAX_ENTRIES)]  # oldest first

    class Settings:
        name = "tasks"
        former_indexes: ClassVar = FORMER_INDEXES | {MOVED_INTO_TRASH, MOVED_OUT_OF_TRASH}
        indexes: ClassVar = INDEXES
        variants: ClassVar = (Tombstone,)
        rules: ClassVar = validation.RULES
        later_rules: ClassVar = validation.LATER_RULES
