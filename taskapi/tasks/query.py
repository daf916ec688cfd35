"""The list of tasks: its parameters, and the one place where they become a MongoDB query."""

from typing import Annotated, Any, Self

from bson import ObjectId
from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError
from pymongo import ASCENDING, DESCENDING

from taskapi.clock import midnight, today
from taskapi.database import BSON
from taskapi.fields import Day, Storable
from taskapi.paging import PageQuery
from taskapi.tasks.schemas import Status

SORTABLE = ("created_at", "updated_at", "due_date", "priority", "title")
_FIELD = f"-?({'|'.join(SORTABLE)})"


def _flag(value: Any) -> Any:
    if value not in ("true", "false"):
        raise PydanticCustomError("bool_parsing", "must be true or false")
    return value == "true"


Flag = Annotated[bool, BeforeValidator(_flag)]


class TaskQuery(PageQuery):
    """Which tasks, in which order, and which page of them."""

    status: Status | None = None
    completed: Flag | None = None
    priority: int | None = Field(None, ge=1, le=5)
    tag: Annotated[str, Field(min_length=1, max_length=40), Storable] | None = Field(
        None, description="Carries this tag, in any case."
    )
    due_before: Day | None = Field(None, description="Due before this day.")
    due_after: Day | None = Field(None, description="Due after this day.")
    overdue: Flag | None = Field(None, description="Whether the due date has passed (UTC) without the task being done.")
    sort: str = Field(
        "-created_at",
        pattern=rf"^{_FIELD}(,{_FIELD})*$",
        max_length=200,
        description=f"Fields separated by commas, `-` before one for descending: {', '.join(SORTABLE)}.",
        examples=["-priority,due_date"],
    )

    @model_validator(mode="after")
    def _sorts_once(self) -> Self:
        names = [part.lstrip("-") for part in self.sort.split(",")]
        if len(set(names)) < len(names):
            raise PydanticCustomError("repeated_sort", "sort names a field more than once")
        return self

    def filter(self, owner: ObjectId) -> BSON:
        """The MongoDB filter: the owner first, then everything asked for."""
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
        return {"owner.id": owner, **({"$and": conditions} if conditions else {})}

    def page(self, owner: ObjectId) -> list[BSON]:
        """The stages of a pipeline that gives the page."""
        return [
            {"$match": self.filter(owner)},
            {"$sort": self.order()},
            {"$skip": self.start},
            {"$limit": self.limit},
        ]

    def count(self, owner: ObjectId) -> list[BSON]:
        """The stages of a pipeline that counts what matches, as ``total``; no document for none."""
        return [{"$match": self.filter(owner)}, {"$count": "total"}]

    def order(self) -> dict[str, int]:
        """The sort of MongoDB, made total by ``_id`` in the direction of the last field, so that an index serves it."""
        order = {part.lstrip("-"): DESCENDING if part.startswith("-") else ASCENDING for part in self.sort.split(",")}
        return {**order, "_id": list(order.values())[-1]}
