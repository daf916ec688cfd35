"""The stored form of a task."""

from datetime import datetime
from typing import Any, ClassVar

from beanie import Document, PydanticObjectId
from pydantic import BaseModel

from taskapi.tasks.schemas import Status
from taskapi.tasks.storage.history import Action
from taskapi.tasks.storage.indexes import FORMER_INDEXES, INDEXES, MOVED_INTO_TRASH, MOVED_OUT_OF_TRASH
from taskapi.tasks.storage.scope import State


class Owner(BaseModel):
    """The embedded reference to a user, with a copy of the account's name that follows it."""

    id: PydanticObjectId
    username: str


class Item(BaseModel):
    """An item of a checklist."""

    id: PydanticObjectId
    text: str
    done: bool


class Trash(BaseModel):
    """What a task in the trash has in place of its owner."""

    owner: Owner
    deleted_at: datetime
    expires_at: datetime


class Entry(BaseModel):
    """One write in the history of a task."""

    version: int  # the version that it created
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

    owner_id: PydanticObjectId  # never changes, in any state
    state: State
    title: str
    description: str
    status: Status
    completed: bool
    completed_at: datetime | None
    priority: int
    due_date: datetime | None  # midnight UTC of the day
    start_date: datetime | None = None  # likewise
    estimate_minutes: int | None = None
    tags: list[str]
    links: list[str]
    checklist: list[Item]
    progress: float
    metadata: dict[str, Any]
    key: str | None = None  # absent without one
    owner: Owner | None = None  # absent in the trash
    trash: Trash | None = None  # absent outside of it
    created_at: datetime
    updated_at: datetime
    version: int
    changed_at: datetime | None = None  # the last write, whatever wrote; absent in what versions up to 1.4 wrote
    status_changes: list[StatusChange] | None = None  # oldest first, from the creation on; likewise
    history: list[Entry]  # oldest first

    class Settings:
        name = "tasks"
        former_indexes: ClassVar = FORMER_INDEXES | {MOVED_INTO_TRASH, MOVED_OUT_OF_TRASH}
        indexes: ClassVar = INDEXES
