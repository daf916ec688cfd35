"""Imports as callers send them, and their reports."""

from bisect import bisect
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, WithJsonSchema, field_validator
from pydantic_core import PydanticCustomError

from taskapi.core.clock import utc_now
from taskapi.core.errors import FieldError
from taskapi.core.fields import ObjectIdIn, QueryBool, ReadModel, SentMoment, Storable, omittable
from taskapi.core.unicode import nfc
from taskapi.tasks.schemas import MAX_KEY_LENGTH, TASK_EXAMPLE, Status, TaskCreate
from taskapi.tasks.storage.rules import CLOCK_SKEW

MAX_LINES = 100_000
MAX_ERRORS = 100
IN_FUTURE = "datetime_future"  # the type of the one error that the clock decides
AT_ANY_TIME = {"at_any_time": True}
"""The context in which a line is valid if it can be at some time."""


def _not_in_future(moment: datetime, info: ValidationInfo) -> datetime:
    if info.context != AT_ANY_TIME and moment > utc_now() + CLOCK_SKEW:
        raise PydanticCustomError(IN_FUTURE, "must not be in the future")
    return moment


def _fits_in_nfc(key: str) -> str:
    # NFC combines at most four characters into one, and takes long for texts that are much longer.
    if len(key) > 4 * MAX_KEY_LENGTH or len(nfc(key)) > MAX_KEY_LENGTH:
        raise PydanticCustomError("string_too_long", "should have at most 100 characters")
    return key


# As sent, for the form in which an earlier version may have stored it; only its length is that of what is stored now.
KeySent = Annotated[
    str, Field(min_length=1, json_schema_extra={"maxLength": MAX_KEY_LENGTH}), Storable, AfterValidator(_fits_in_nfc)
]
Past = Annotated[
    SentMoment,
    AfterValidator(_not_in_future),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-01-31T09:15:00.123Z"]}),
]
Ignored = Annotated[Any, Field(description="Set by the server; ignored.")]


class ImportQuery(BaseModel):
    """How lines are imported."""

    model_config = ConfigDict(extra="forbid")

    dry_run: QueryBool = Field(False, description="Report what would happen, and write nothing.")
    match: Literal["key", "id"] = Field(
        "key",
        description="`id`: a line with the `id` of one of your tasks changes that task, and restores it from the trash. The task "
        "gets the `key` of the line, which must not be that of another task; null leaves its own. If there is no such task, the "
        "`key` decides; an erased task is recreated under a new id, the same one at each import.",
    )


class TaskImport(TaskCreate):
    """A line of an import: a task as `POST /tasks` accepts it, or as an export contains it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{**TASK_EXAMPLE, "key": "crm-4711", "created_at": "2026-01-31T09:15:00.123Z"}]}
    )

    key: KeySent | None = Field(
        None,
        description="Your own identifier for the task, stored in Unicode NFC. If a task has this key, in any Unicode form, the "
        "line changes it.",
    )
    created_at: Past = omittable()
    updated_at: Past = omittable(description="For an existing task, only a time later than its own counts.")
    completed_at: Past | None = Field(None, description="Only for a task that is done.")
    id: Annotated[Any, Field(description="Ignored, except with `match=id`.")] = None
    owner: Ignored = None
    progress: Ignored = None
    version: Ignored = None

    @property
    def done(self) -> bool:
        """Whether the line says that the task is done."""
        return bool(self.completed) or self.status is Status.done

    @field_validator("updated_at", "completed_at")
    @classmethod
    def _is_after_creation(cls, moment: datetime | None, info: ValidationInfo) -> datetime | None:
        created_at = info.data.get("created_at")
        if moment and created_at and created_at - moment > CLOCK_SKEW:
            raise PydanticCustomError("contradiction", "must not be before created_at")
        return moment

    @field_validator("completed_at")
    @classmethod
    def _goes_with_done(cls, moment: datetime | None, info: ValidationInfo) -> datetime | None:
        done = info.data.get("completed") or info.data.get("status") is Status.done
        if moment and not done and {"status", "completed"} <= info.data.keys():
            raise PydanticCustomError("contradiction", "contradicts status: only a task that is done can have it")
        return moment


class TaskImportById(TaskImport):
    """A line of an import in which `id` identifies the task."""

    id: ObjectIdIn | None = None


class LineError(BaseModel):
    """One invalid value in a line."""

    line: int = Field(
        ge=1, description="The line on which the record begins, from 1, including empty lines; in a JSON array, the position."
    )
    field: str
    message: str
    type: str = Field(description="The kind of rule that it violates.")


class ImportReport(ReadModel):
    """The result of an import."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "lines": 3,
                    "created": 1,
                    "updated": 0,
                    "unchanged": 1,
                    "failed": 1,
                    "errors": [{"line": 3, "field": "title", "message": "Field required", "type": "missing"}],
                    "errors_omitted": 0,
                }
            ]
        }
    )

    lines: int = Field(0, description="Lines that are not empty; each is counted in one of the numbers below.")
    created: int = Field(0, description="Lines that created a task, or restored one from the trash.")
    updated: int = 0
    unchanged: int = Field(0, description="Lines whose task already has these values.")
    failed: int = 0
    errors: list[LineError] = Field(
        [], max_length=MAX_ERRORS, description="The first 100 errors, by line; a line may have several."
    )
    errors_omitted: int = Field(0, description="How many more errors there were.")

    def fail(self, number: int, faults: Sequence[FieldError]) -> None:
        """Counts the line at ``number`` as failed, and adds its faults."""
        self.failed += 1
        known = len(self.errors) + len(faults)
        place = bisect(self.errors, number, key=lambda error: error.line)  # some are found only when later lines have been read
        left = MAX_ERRORS - place
        added = [LineError(line=number, **asdict(fault)) for fault in faults[:left]]
        self.errors[place:] = [*added, *self.errors[place:]][:left]
        self.errors_omitted += known - len(self.errors)
