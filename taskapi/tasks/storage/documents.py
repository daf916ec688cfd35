"""The stored form of a task."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from beanie import Document, PydanticObjectId
from pydantic import BaseModel, Field

from taskapi.core.fields import omittable
from taskapi.db.validators import BSONSchema, Growing, Since
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
from taskapi.tasks.storage.history import MAX_STORED, Action
from taskapi.tasks.storage.indexes import FORMER_INDEXES, INDEXES, MOVED_INTO_TRASH, MOVED_OUT_OF_TRASH
from taskapi.tasks.storage.marks import MAX_STATUS_CHANGES
from taskapi.tasks.storage.scope import State


class Owner(BaseModel):
    """The embedded reference to a user, with a copy of the account's name that follows it."""

    id: PydanticObjectId
    """The ``_id`` of the user."""
    username: str
    """A copy of the user name. It follows a change of name, usually within a minute or two."""


class Item(BaseModel):
    """An item of a checklist."""

    id: PydanticObjectId
    """The item's id, unique in the task."""
    text: ItemText
    """What is to be done."""
    done: bool
    """Whether it is done."""


class Trash(BaseModel):
    """What a task in the trash has in place of its owner."""

    owner: Owner
    """The user who owned the task, and still does by ``owner_id``."""
    deleted_at: datetime
    """When the task was moved to the trash."""
    expires_at: datetime
    """When the task is purged, within a minute or two."""


class Entry(BaseModel):
    """One write in the history of a task."""

    version: Annotated[int, Field(ge=1)]
    """The version that the write created."""
    at: datetime
    """When the task was written."""
    by: Owner
    """The user who wrote."""
    action: Action
    """What the write did."""
    request_id: str
    """Identifies the request in the log."""
    before: dict[str, Any]
    """The earlier values of the fields that the write changed, by name."""


class Tombstone(BaseModel):
    """What is left of a purged task, so that scripts that load what has changed learn of it. No route shows it.

    It holds nothing that the owner wrote.
    """

    id: PydanticObjectId
    """The ``_id`` of the task, which a repeated request would use again."""
    owner_id: PydanticObjectId
    """The ``_id`` of the user who owned the task."""
    state: Literal["purged"]
    """What tells it from a task."""
    created_at: datetime
    """When the task was created."""
    version: Annotated[int, Field(ge=1)]
    """The version that the purge created."""
    changed_at: datetime
    """When the task was purged."""
    expires_at: datetime
    """When MongoDB removes the tombstone."""


class StatusChange(BaseModel):
    """The beginning of a period in which the task had a status."""

    status: Status
    """The status from then on."""
    at: datetime
    """When the task got this status."""


class TaskDocument(Document):
    """A task, also when it is in the trash; or the tombstone of a task that was purged.

    Text and keys are in Unicode NFC, except in ``metadata`` and in what version 1.2 and before wrote. If an import by id
    created the task again, its ``_id`` is a hash of the owner's id and the given id, and contains no time.
    """

    owner_id: Annotated[PydanticObjectId, Since("1.5")]
    """The ``_id`` of the user who owns the task. It never changes, in or out of the trash."""
    state: Annotated[State, Since("1.5")]
    """``active``, ``trash`` in the trash, or ``purged`` in a tombstone."""
    title: Title
    """The title, trimmed."""
    description: Description
    """The description; ``""`` if there is none."""
    status: Status
    """How far the task is."""
    completed: bool
    """True if and only if ``status`` is ``done``."""
    completed_at: datetime | None
    """When the task was last completed; null while it is not."""
    priority: Priority
    """1 is the lowest priority, 5 the highest."""
    due_date: datetime | None
    """The day by the end of which the task is due, as midnight UTC at its start; null without one."""
    start_date: datetime | None = None
    """The day on which work starts, as midnight UTC at its start; not after ``due_date`` when both are set. Absent in tasks
    that version 1.4 and before wrote, meaning null."""
    estimate_minutes: EstimateMinutes | None = None
    """The estimated effort in minutes. Absent in tasks that version 1.4 and before wrote, meaning null."""
    tags: Tags
    """The tags, in lower case and distinct."""
    links: Links
    """The http(s) URLs of related pages, distinct."""
    checklist: Annotated[list[Item], Field(max_length=MAX_ITEMS)]
    """The items of the checklist, in their order."""
    progress: Annotated[float, Field(ge=0, le=1)]
    """The share of the checklist's items that are done. Without a checklist, 1 if the task is done and 0 if not."""
    metadata: Annotated[dict[str, Any], BSONSchema(validation.METADATA)]
    """The caller's own data: at most 16 KiB as JSON, 6 levels deep, with 200 keys in all. Keys and text are stored as sent."""
    key: Key = omittable()
    """The caller's own identifier, given by an import; unique for the owner. Absent without one."""
    owner: Owner = omittable()
    """The user who owns the task; absent in the trash."""
    trash: Trash = omittable()
    """Present in the trash only."""
    created_at: datetime
    """When the task was created."""
    updated_at: datetime
    """When the task was last changed. A new user name, deletion and restoring do not count as changes. Each change increases
    it by at least one millisecond."""
    version: Annotated[int, Field(ge=1)]
    """1 when created, or the next version of the purged task whose place it takes; each write adds 1. The
    ``ETag`` consists of it and ``users.renames``."""
    changed_at: Annotated[datetime, Since("1.5")]
    """When the task was last written, whatever wrote. Later with each write."""
    status_changes: Annotated[list[StatusChange], Field(max_length=MAX_STATUS_CHANGES), Growing(), Since("1.5")]
    """The statuses that the task has had, oldest first, from its creation on; the oldest are dropped."""
    history: Annotated[list[Entry], Field(max_length=MAX_STORED), Growing()]
    """The writes of the task, oldest first: at least the last 100, or fewer to stay within 64 KiB. No route or view shows more
    than the last 100."""

    class Settings:
        name = "tasks"
        former_indexes: ClassVar = FORMER_INDEXES | {MOVED_INTO_TRASH, MOVED_OUT_OF_TRASH}
        indexes: ClassVar = INDEXES
        variants: ClassVar = (Tombstone,)
        rules: ClassVar = validation.RULES
        later_rules: ClassVar = validation.LATER_RULES
