"""The list of tasks: its parameters, and the one place where they become a MongoDB query."""

from typing import Self

from bson import ObjectId
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from pymongo import ASCENDING, DESCENDING

from taskapi.database import BSON
from taskapi.paging import PageQuery
from taskapi.tasks.selection import TaskFilters

SORTABLE = ("created_at", "updated_at", "due_date", "priority", "title")
_FIELD = f"-?({'|'.join(SORTABLE)})"


class TaskQuery(PageQuery, TaskFilters):
    """Which tasks, in which order, and which page of them."""

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
