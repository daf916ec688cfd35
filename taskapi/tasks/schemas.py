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

from taskapi.clock import in_utc, today, utc_now
from taskapi.fields import OBJECT_ID_EXAMPLE, Day, Id, Moment, Optional, Storable, StoredDay, Trimmed

LONGEST_TAG = 40
LONGEST_LINK = 2048
_url = TypeAdapter(HttpUrl)


class Status(StrEnum):
    """Where a task stands."""

    todo = "todo"
    in_progress = "in_progress"
    done = "done"


def _lower_case(tag: str) -> str:
    lowered = tag.lower()
    if len(lowered) > LONGEST_TAG:  # some letters become longer
        raise PydanticCustomError("string_too_long", "should have at most 40 characters in lower case")
    return lowered


def _unique(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _web_address(link: str) -> str:
    try:
        url = _url.validate_python(link)
    except ValidationError:
        raise PydanticCustomError("url", "must be a web address that starts with http:// or https://") from None
    if url.username or url.password:
        raise PydanticCustomError("url_credentials", "must not contain a user name or password")
    return str(url)


def _null_empties(kind: type) -> AfterValidator:
    return AfterValidator(lambda value: kind() if value is None else value)


Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=200), Storable]
Description = Annotated[str, Field(max_length=2000), Storable]
Priority = Annotated[StrictInt, Field(ge=1, le=5)]
Tag = Annotated[str, Trimmed, Field(min_length=1, max_length=LONGEST_TAG), AfterValidator(_lower_case), Storable]
Tags = Annotated[list[Tag], Field(max_length=20), AfterValidator(_unique)]
Link = Annotated[
    str, Field(min_length=1, max_length=LONGEST_LINK, json_schema_extra={"format": "uri"}), Storable, AfterValidator(_web_address)
]
Links = Annotated[list[Link], Field(max_length=10), AfterValidator(_unique)]

TASK_EXAMPLE: dict[str, Any] = {
    "title": "Write the quarterly report",
    "description": "Figures from finance, then two pages.",
    "priority": 3,
    "due_date": "2027-01-31",
    "tags": ["work", "writing"],
    "links": ["https://example.com/figures"],
}


class _Completion(BaseModel):
    """The two ways to say that a task is done must agree."""

    @field_validator("completed", check_fields=False)
    @classmethod
    def _agrees_with_status(cls, completed: bool | None, info: ValidationInfo) -> bool | None:
        status = info.data.get("status")
        if status is not None and completed is not None and completed != (status is Status.done):
            raise PydanticCustomError("contradiction", "contradicts status: completed is true exactly when status is done")
        return completed


class TaskCreate(_Completion):
    """A new task."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [TASK_EXAMPLE]})

    title: Title
    description: Description = ""
    status: Status = Optional(description="`todo` unless sent.")
    completed: StrictBool = Optional(description="True exactly when the status is `done`; send either.")
    priority: Priority = 1
    due_date: Day | None = None
    tags: Tags = []
    links: Links = []


class TaskUpdate(_Completion):
    """Changes to a task: only the fields sent change. Null empties description, due_date, tags and links."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"status": "in_progress", "priority": 5}]})

    title: Title = Optional()
    description: Annotated[Description | None, _null_empties(str)] = Optional()
    status: Status = Optional()
    completed: StrictBool = Optional(description="True sets the status to `done`, false takes it back to `todo`.")
    priority: Priority = Optional()
    due_date: Day | None = Optional()
    tags: Annotated[Tags | None, _null_empties(list)] = Optional()
    links: Annotated[Links | None, _null_empties(list)] = Optional()


class OwnerRead(BaseModel):
    """Whose task it is."""

    id: Id
    username: str


class TaskRead(BaseModel):
    """A task as its owner sees it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": OBJECT_ID_EXAMPLE,
                    **TASK_EXAMPLE,
                    "status": "todo",
                    "completed": False,
                    "completed_at": None,
                    "owner": {"id": "65f1a2b3c4d5e6f708192a00", "username": "ada"},
                    "created_at": "2027-01-02T09:15:00.123Z",
                    "updated_at": "2027-01-02T09:15:00.123Z",
                    "version": 1,
                }
            ]
        }
    )

    id: Annotated[Id, Field(validation_alias="_id")]
    title: str
    description: str
    status: Status
    completed: bool
    completed_at: Moment | None
    priority: int
    due_date: StoredDay | None
    tags: list[str]
    links: list[str]
    owner: OwnerRead
    created_at: Moment
    updated_at: Moment
    version: int = Field(description="Counts the writes to this task.")


class TaskSummary(BaseModel):
    """A task in brief."""

    id: Annotated[Id, Field(validation_alias="_id")]
    title: str
    status: Status
    due_date: StoredDay | None
    overdue: bool = Field(description="Its due date has passed (UTC) and it is not done.")
    age_days: int = Field(ge=0, description="Whole days since it was created.")

    @classmethod
    def of(cls, stored: dict[str, Any]) -> "TaskSummary":
        """The summary of a stored task, as of now."""
        due, done = stored["due_date"], stored["status"] == Status.done
        age = utc_now() - in_utc(stored["created_at"])
        overdue = due is not None and in_utc(due) < today() and not done
        return cls.model_validate({**stored, "overdue": overdue, "age_days": max(age.days, 0)})
