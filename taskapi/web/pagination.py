"""Pages of a list: their parameters, their entries, and the links between them."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Generic, NamedTuple, Self, TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from taskapi.db.connection import BSON, Collection
from taskapi.db.queries import aggregate

Entry = TypeVar("Entry")

MAX_OFFSET = 2**31 - 1
MAX_LINK_LENGTH = 8000  # of the header with the next page alone; proxies have their limits too
MAX_ADDRESS_LENGTH = 1000  # characters of a link; when one is longer only the next page is linked, for headers have limits

PAGE = frozenset({"limit", "offset", "skip", "cursor"})  # the parameters that differ from page to page

LIMIT: Any = Field(20, ge=1, le=100, description="Maximum number of entries per page.")
Offset = Annotated[int, Field(ge=0, le=MAX_OFFSET)]

LIST_HEADERS: dict[str, Any] = {
    "X-Total-Count": {"description": "The total number of entries.", "schema": {"type": "integer"}},
    "Link": {"description": "The first, prev, next and last page (RFC 8288).", "schema": {"type": "string"}},
}


class Page(NamedTuple, Generic[Entry]):
    """Some entries of a list, and the total number of entries."""

    entries: list[Entry]
    total: int


class PageQuery(BaseModel):
    """The page of a list, by offset and limit."""

    model_config = ConfigDict(extra="forbid")

    limit: int = LIMIT
    offset: Offset | None = Field(None, description="Number of entries to skip.")
    skip: Offset | None = Field(None, description="The same as `offset`.")

    @model_validator(mode="after")
    def _has_one_offset(self) -> Self:
        if self.offset is not None and self.skip is not None:
            raise PydanticCustomError("synonyms", "offset and skip are the same parameter; send only one")
        return self

    @property
    def start(self) -> int:
        """How many entries are skipped."""
        return self.offset or self.skip or 0

    async def find(
        self, collection: Collection, matching: BSON, order: Mapping[str, int], projection: BSON, milliseconds: int
    ) -> Page[BSON]:
        """The documents that match, on this page of their ``order``.

        Raises:
            ExecutionTimeout: finding or counting them took longer than ``milliseconds``.
        """
        match = {"$match": matching}
        shown: list[BSON] = [{"$sort": dict(order)}, {"$skip": self.start}, {"$limit": self.limit}, {"$project": projection}]
        entries = await aggregate(collection, [match, *shown], milliseconds)
        counted = await aggregate(collection, [match, {"$count": "total"}], milliseconds)
        return Page(entries, counted[0]["total"] if counted else 0)

    def last(self, total: int) -> int:
        """Where the last page starts, when pages follow each other from this one."""
        off_grid = self.start % self.limit if self.start < total else 0
        return off_grid + max(total - 1 - off_grid, 0) // self.limit * self.limit

    def links(self, path: str, total: int | None, *, more: bool) -> str:
        """The Link header (RFC 8288) to the first, previous, next and last page; ``more``: whether there is a next one."""
        last = None if total is None else self.last(total)
        before = self.start - self.limit
        targets = {"first": 0, "prev": max(before if last is None else min(before, last), 0)}
        if self.start == 0:
            del targets["prev"]
        if more:
            targets["next"] = self.start + self.limit
        if last is not None:
            targets["last"] = last
        return header(path, self, {relation: f"offset={offset}" for relation, offset in targets.items()})


def header(path: str, query: PageQuery, targets: Mapping[str, str]) -> str:
    """A Link header: by its relation, the page parameter of each target, encoded; all others are those of ``query``.

    Empty when it would be longer than proxies let pass.
    """
    given = query.model_fields_set - PAGE
    page = f"{path}?{urlencode(_written(query, given)) + '&' if given else ''}limit={query.limit}&"
    longest = len(page) + max(map(len, targets.values()))
    if longest > MAX_LINK_LENGTH:
        return ""
    linked = targets if longest <= MAX_ADDRESS_LENGTH else {name: target for name, target in targets.items() if name == "next"}
    return ", ".join(f'<{page}{target}>; rel="{relation}"' for relation, target in linked.items())


def _written(query: BaseModel, names: set[str]) -> dict[str, str]:
    """The parameters of those names that were given, as they are written in a query string."""
    given = query.model_dump(mode="json", include=names, exclude_none=True)
    return {name: value if isinstance(value, str) else json.dumps(value, separators=(",", ":")) for name, value in given.items()}
