"""The filters that select tasks, shared by everything that reads or changes many of them."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationInfo, WithJsonSchema, field_validator

from taskapi.core.clock import midnight, today
from taskapi.core.fields import CalendarDate, Composed, QueryBool, Storable, TimeZone
from taskapi.db.connection import BSON
from taskapi.tasks.query.equality import forms
from taskapi.tasks.query.filter import WhereDocument, WhereText, compile_where, parse_where
from taskapi.tasks.schemas import MAX_ESTIMATE_MINUTES, MAX_TAG_LENGTH, Status
from taskapi.tasks.storage.scope import Scope

MAX_SEARCH_LENGTH = 200


Words = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_SEARCH_LENGTH,
        description="Tasks with one of these words in title, tags, checklist or description, ignoring case and accents. "
        '`"a phrase"` must occur as it is; `-word` must not occur.',
        examples=["quarterly report"],
    ),
    Storable,
    Composed,
]
"""A text search, as MongoDB's ``$search`` reads it."""


WhereParameter = Annotated[WhereDocument, BeforeValidator(parse_where), WithJsonSchema(TypeAdapter(WhereText).json_schema())]
"""A filter in a query string."""


TagParameter = Annotated[str, Field(min_length=1, max_length=MAX_TAG_LENGTH), Storable, Composed]
"""A tag in a query string."""


TODAY = "today"
Due = Annotated[
    CalendarDate,
    WithJsonSchema({"type": "string", "pattern": rf"^(\d{{4}}-\d{{2}}-\d{{2}}|{TODAY})$", "examples": ["2027-01-31", TODAY]}),
]
"""A calendar date, or the word ``today``."""


class Selection(BaseModel):
    """Selects the tasks of a scope that meet every given condition."""

    model_config = ConfigDict(extra="forbid")

    where: WhereDocument | None = None
    q: Words | None = None

    def filter(self, scope: Scope) -> BSON:
        """The MongoDB filter: the scope first, then every condition. Raises InvalidInput for an invalid ``where``."""
        # MongoDB accepts $text only at the top level, together with the owner as the text index has it.
        text = {} if self.q is None else {"owner.id": scope.owner_id, "$text": {"$search": self.q}}
        conditions = self._conditions()
        return {**scope.outside_trash, **text, **({"$and": conditions} if conditions else {})}

    def _conditions(self) -> list[BSON]:
        return [compile_where(self.where)] if self.where else []


class TaskFilters(Selection):
    """A selection in a query string, with a parameter for each common condition."""

    where: WhereParameter | None = None
    status: Status | None = Field(None, description="Tasks with this status.")
    completed: QueryBool | None = Field(None, description="Whether the task is done.")
    priority: int | None = Field(None, ge=1, le=5, description="Tasks with this priority; 5 is the highest.")
    tag: TagParameter | None = Field(None, description="Tasks with this tag, ignoring case.")
    tz: TimeZone | None = None
    due_before: Due | None = Field(None, description="Due before this day, or before `today` in the time zone `tz`.")
    due_after: Due | None = Field(None, description="Due after this day, or after `today`.")
    start_before: Due | None = Field(None, description="Starts before this day, or before `today`.")
    start_after: Due | None = Field(None, description="Starts after this day, or after `today`.")
    estimate_min: int | None = Field(
        None, ge=0, le=MAX_ESTIMATE_MINUTES, description="An estimate of at least this many minutes."
    )
    estimate_max: int | None = Field(None, ge=0, le=MAX_ESTIMATE_MINUTES, description="An estimate of at most this many minutes.")
    overdue: QueryBool | None = Field(
        None, description="Whether the due date has passed, in the time zone `tz`, and the task is not done."
    )

    @field_validator("due_before", "due_after", "start_before", "start_after", mode="before")
    @classmethod
    def _names_a_day(cls, value: Any, info: ValidationInfo) -> Any:
        return today(info.data.get("tz")).date().isoformat() if value == TODAY else value

    def _conditions(self) -> list[BSON]:
        conditions = super()._conditions()
        if self.status is not None:
            conditions.append({"status": self.status})
        if self.completed is not None:
            conditions.append({"status": Status.done if self.completed else {"$in": [Status.todo, Status.in_progress]}})
        if self.priority is not None:
            conditions.append({"priority": self.priority})
        if self.tag is not None:
            conditions.append({"tags": {"$in": forms(self.tag.strip().lower())}})
        if self.due_before is not None:
            conditions.append({"due_date": {"$lt": midnight(self.due_before)}})
        if self.due_after is not None:
            conditions.append({"due_date": {"$gt": midnight(self.due_after)}})
        if self.start_before is not None:
            conditions.append({"start_date": {"$lt": midnight(self.start_before)}})
        if self.start_after is not None:
            conditions.append({"start_date": {"$gt": midnight(self.start_after)}})
        if self.estimate_min is not None:
            conditions.append({"estimate_minutes": {"$gte": self.estimate_min}})
        if self.estimate_max is not None:
            conditions.append({"estimate_minutes": {"$lte": self.estimate_max}})
        if self.overdue:
            conditions += [{"due_date": {"$lt": today(self.tz)}}, {"status": {"$in": [Status.todo, Status.in_progress]}}]
        elif self.overdue is not None:
            conditions.append({"$or": [{"due_date": None}, {"due_date": {"$gte": today(self.tz)}}, {"status": Status.done}]})
        return conditions
