"""Tasks as callers send and see them."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    StrictBool,
    StrictInt,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from taskapi.core.fields import (
    OBJECT_ID_EXAMPLE,
    CalendarDate,
    Composed,
    Distinct,
    Id,
    ObjectIdIn,
    Plain,
    ReadModel,
    Storable,
    StoredDay,
    TextRule,
    Trimmed,
    UTCDateTime,
    Visible,
    empty,
    omittable,
)
from taskapi.core.unicode import nfc
from taskapi.tasks.definitions import Kind, NotAfter, TaskField
from taskapi.tasks.metadata import METADATA_EXAMPLE, Metadata, StoredMetadata

MAX_ITEMS = 100
MAX_TAG_LENGTH = 40
MAX_LINK_LENGTH = 2048
MAX_ESTIMATE_MINUTES = 100_000
MAX_KEY_LENGTH = 100
_url = TypeAdapter(HttpUrl)


class Status(StrEnum):
    """The state of a task."""

    todo = "todo"
    in_progress = "in_progress"
    done = "done"


def _lower_case(tag: str) -> str:
    lowered = nfc(tag.lower())
    if len(lowered) > MAX_TAG_LENGTH:  # some letters become longer
        raise PydanticCustomError("string_too_long", "should have at most 40 characters in lower case")
    return lowered


def _web_address(link: str) -> str:
    try:
        url = _url.validate_python(link)
    except ValidationError:
        raise PydanticCustomError("url", "must be a complete http or https URL, such as https://example.com/") from None
    if url.username or url.password:
        raise PydanticCustomError("url_credentials", "must not contain a user name or password")
    written = str(url)
    if len(written) > MAX_LINK_LENGTH:
        raise PydanticCustomError("string_too_long", "should have at most 2048 characters once non-ASCII characters are encoded")
    return written


def _null_empties(kind: type) -> AfterValidator:
    return AfterValidator(lambda value: kind() if value is None else value)


Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=200), Visible, Composed]
Description = Annotated[str, Field(max_length=2000), Plain, Composed]
Priority = Annotated[StrictInt, Field(ge=1, le=5)]
StartDate = Annotated[CalendarDate | None, NotAfter("due_date")]
EstimateMinutes = Annotated[StrictInt, Field(ge=0, le=MAX_ESTIMATE_MINUTES)]
Tag = Annotated[str, Trimmed, Field(min_length=1, max_length=MAX_TAG_LENGTH), TextRule(_lower_case, "[A-Z]"), Visible, Composed]
Tags = Annotated[list[Tag], Field(max_length=20), Distinct]
_link = Field(min_length=1, max_length=MAX_LINK_LENGTH, json_schema_extra={"format": "uri"})
# The scheme, then a host without a user name: the same in every version.
Link = Annotated[str, _link, Storable, TextRule(_web_address, r"^(?!https?://[^/?#@]+(?:[/?#]|\z))")]
Links = Annotated[list[Link], Field(max_length=10), Distinct]

Key = Annotated[str, Field(min_length=1, max_length=MAX_KEY_LENGTH), Storable]
ItemText = Annotated[str, Trimmed, Field(min_length=1, max_length=200), Visible, Composed]


class ChecklistItem(BaseModel):
    """An item of a whole checklist. Without an id, it is a new item."""

    model_config = ConfigDict(extra="forbid")

    id: ObjectIdIn = omittable(description="The item's id, for an existing item.")
    text: ItemText
    done: StrictBool = False


def _distinct(items: list[ChecklistItem]) -> list[ChecklistItem]:
    ids = [item.id for item in items if item.id is not None]
    if len(set(ids)) < len(ids):
        raise PydanticCustomError("repeated_id", "should not contain an item twice")
    return items


Checklist = Annotated[list[ChecklistItem], Field(max_length=MAX_ITEMS), AfterValidator(_distinct)]

TASK_EXAMPLE: dict[str, Any] = {
    "title": "Write the quarterly report",
    "description": "Figures from finance, then two pages.",
    "priority": 3,
    "due_date": "2027-01-31",
    "start_date": "2027-01-11",
    "estimate_minutes": 240,
    "tags": ["work", "writing"],
    "links": ["https://example.com/figures"],
    "checklist": [{"text": "Ask for the figures", "done": True}, {"text": "Two pages"}],
    "metadata": METADATA_EXAMPLE,
}
READ_EXAMPLE: dict[str, Any] = {
    "id": OBJECT_ID_EXAMPLE,
    "title": TASK_EXAMPLE["title"],
    "description": TASK_EXAMPLE["description"],
    "status": "todo",
    "completed": False,
    "completed_at": None,
    **{name: TASK_EXAMPLE[name] for name in ("priority", "due_date", "start_date", "estimate_minutes", "tags", "links")},
    "checklist": [
        {"id": "65f1a2b3c4d5e6f708192a3c", "text": "Ask for the figures", "done": True},
        {"id": "65f1a2b3c4d5e6f708192a3d", "text": "Two pages", "done": False},
    ],
    "progress": 0.5,
    "metadata": METADATA_EXAMPLE,
    "key": None,
    "owner": {"id": "65f1a2b3c4d5e6f708192a00", "username": "ada"},
    "created_at": "2027-01-02T09:15:00.123Z",
    "updated_at": "2027-01-02T09:15:00.123Z",
    "version": 1,
}


class _Completion(BaseModel):
    """The two ways to say that a task is done must agree."""

    @field_validator("completed", check_fields=False)
    @classmethod
    def _agrees_with_status(cls, completed: bool | None, info: ValidationInfo) -> bool | None:
        status = info.data.get("status")
        if status is not None and completed is not None and completed != (status is Status.done):
            raise PydanticCustomError("contradiction", "contradicts status: completed is true if and only if status is done")
        return completed


class TaskCreate(_Completion):
    """A new task."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [TASK_EXAMPLE]})

    title: Title
    description: Description = ""
    status: Status = omittable(description="`todo` by default.")
    completed: StrictBool = omittable(description="True if and only if the status is `done`; send either.")
    priority: Priority = 1
    due_date: CalendarDate | None = None
    start_date: StartDate = Field(None, description="Not after `due_date`.")
    estimate_minutes: EstimateMinutes | None = None
    tags: Tags = empty(list)
    links: Links = empty(list)
    checklist: Checklist = empty(list)
    metadata: Metadata = empty(dict)


class TaskUpdate(_Completion):
    """Changes to a task: only the fields that are sent.

    Null clears description, due_date, start_date, estimate_minutes, tags, links, checklist and metadata. An object for metadata
    is merged into the stored one (RFC 7396): members that are null are removed.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"status": "in_progress", "priority": 5}]})

    title: Title = omittable()
    description: Annotated[Description | None, _null_empties(str)] = omittable()
    status: Status = omittable()
    completed: StrictBool = omittable(description="True sets the status to `done`, false sets it back to `todo`.")
    priority: Priority = omittable()
    due_date: CalendarDate | None = omittable()
    start_date: StartDate = omittable(description="Not after `due_date`.")
    estimate_minutes: EstimateMinutes | None = omittable()
    tags: Annotated[Tags | None, _null_empties(list)] = omittable()
    links: Annotated[Links | None, _null_empties(list)] = omittable()
    checklist: Annotated[Checklist | None, _null_empties(list)] = omittable()
    metadata: Metadata | None = omittable()


class ItemCreate(BaseModel):
    """A new item of a checklist."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"text": "Ask for the figures"}]})

    text: ItemText
    done: StrictBool = False
    before: ObjectIdIn | None = Field(None, description="The item before which it is inserted; null: at the end.")


class ItemUpdate(BaseModel):
    """Changes to an item of a checklist: only the fields that are sent."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"done": True}]})

    text: ItemText = omittable()
    done: StrictBool = omittable()
    before: ObjectIdIn | None = omittable(description="The item before which it is moved; null: to the end.")


class OwnerRead(BaseModel):
    """The owner of a task."""

    id: Annotated[Id, TaskField(Kind.object_id)]
    username: Annotated[str, TaskField(Kind.text)]


class ChecklistItemRead(BaseModel):
    """An item of a checklist."""

    model_config = ConfigDict(json_schema_extra={"examples": [READ_EXAMPLE["checklist"][0]]})

    id: Annotated[Id, TaskField(Kind.object_id)]
    text: Annotated[str, TaskField(Kind.text)]
    done: Annotated[bool, TaskField(Kind.flag)]


class TaskRead(ReadModel):
    """A task as its owner sees it."""

    # The definition of each field. A default stands for what the tasks of an earlier version of the service lack.

    model_config = ConfigDict(json_schema_extra={"examples": [READ_EXAMPLE]})

    id: Annotated[Id, Field(validation_alias="_id"), TaskField(Kind.object_id)]
    title: Annotated[str, TaskField(Kind.text, sortable=True)]
    description: Annotated[str, TaskField(Kind.text)]
    status: Annotated[Status, TaskField(Kind.status)]
    completed: Annotated[bool, TaskField(Kind.flag)]
    completed_at: Annotated[UTCDateTime | None, TaskField(Kind.moment)]
    priority: Annotated[int, TaskField(Kind.integer, sortable=True)]
    due_date: Annotated[StoredDay | None, TaskField(Kind.day, sortable=True)]
    start_date: Annotated[StoredDay | None, TaskField(Kind.day, sortable=True)] = None
    estimate_minutes: Annotated[int | None, TaskField(Kind.integer, sortable=True)] = None
    tags: Annotated[list[str], TaskField(Kind.tag)]
    links: Annotated[list[str], TaskField(Kind.link)]
    checklist: Annotated[list[ChecklistItemRead], TaskField(Kind.members)] = Field([])
    progress: Annotated[float, TaskField(Kind.number)] = Field(
        0.0, ge=0, le=1, description="The share of the checklist that is done; without a checklist, 1 if the task is done."
    )
    metadata: Annotated[StoredMetadata, TaskField(Kind.metadata)] = Field({})
    key: Annotated[str | None, TaskField(Kind.text)] = Field(
        None, description="Your own identifier for the task, given by an import."
    )
    owner: Annotated[OwnerRead, TaskField(Kind.members)]
    created_at: Annotated[UTCDateTime, TaskField(Kind.moment, sortable=True)]
    updated_at: Annotated[UTCDateTime, TaskField(Kind.moment, sortable=True)]
    version: Annotated[StrictInt, TaskField(Kind.integer)] = Field(
        description="1 when created, or the next version of the purged task whose place it takes; each write adds 1."
    )


class TrashedTask(TaskRead):
    """A task in the trash."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{**READ_EXAMPLE, "deleted_at": "2027-01-03T10:00:00.000Z", "expires_at": "2027-02-02T10:00:00.000Z"}]
        }
    )

    deleted_at: UTCDateTime
    expires_at: UTCDateTime = Field(description="When it will be erased.")
