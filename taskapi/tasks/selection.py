"""Which tasks: the filters that every way of reading or changing many tasks takes."""

from typing import Annotated, Any

from bson import ObjectId
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from taskapi.clock import midnight, today
from taskapi.database import BSON
from taskapi.fields import Day, Storable
from taskapi.tasks.schemas import LONGEST_TAG, Status


def _flag(value: Any) -> Any:
    if value not in ("true", "false"):
        raise PydanticCustomError("bool_parsing", "must be true or false")
    return value == "true"


Flag = Annotated[bool, BeforeValidator(_flag)]


class TaskFilters(BaseModel):
    """Which tasks of an owner; each condition that is given holds for them."""

    model_config = ConfigDict(extra="forbid")

    status: Status | None = None
    completed: Flag | None = None
    priority: int | None = Field(None, ge=1, le=5)
    tag: Annotated[str, Field(min_length=1, max_length=LONGEST_TAG), Storable] | None = Field(
        None, description="Carries this tag, in any case."
    )
    due_before: Day | None = Field(None, description="Due before this day.")
    due_after: Day | None = Field(None, description="Due after this day.")
    overdue: Flag | None = Field(None, description="Whether the due date has passed (UTC) without the task being done.")

    def filter(self, owner: ObjectId) -> BSON:
        """The MongoDB filter: the owner first, then everything asked for."""
        conditions = self._conditions()
        return {"owner.id": owner, **({"$and": conditions} if conditions else {})}

    def _conditions(self) -> list[BSON]:
        conditions: list[BSON] = []
        if self.status is not None:
            conditions.append({"status": self.status})
        if self.completed is not None:
            conditions.append({"status": Status.done if self.completed else {"$in": [Status.todo, Status.in_progress]}})
        if self.priority is not None:
            conditions.append({"priority": self.priority})
        if self.tag is not None:
            conditions.append({"tags": self.tag.strip().lower()})
        if self.due_before is not None:
            conditions.append({"due_date": {"$lt": midnight(self.due_before)}})
        if self.due_after is not None:
            conditions.append({"due_date": {"$gt": midnight(self.due_after)}})
        if self.overdue:
            conditions += [{"due_date": {"$lt": today()}}, {"status": {"$in": [Status.todo, Status.in_progress]}}]
        elif self.overdue is not None:
            conditions.append({"$or": [{"due_date": None}, {"due_date": {"$gte": today()}}, {"status": Status.done}]})
        return conditions
