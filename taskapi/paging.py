"""Pages of a list by number: the parameters, and the links between the pages."""

from collections.abc import Mapping
from typing import Annotated, Any, Self
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

LARGEST_OFFSET = 2**31 - 1

Offset = Annotated[int, Field(ge=0, le=LARGEST_OFFSET)]

LIST_HEADERS: dict[str, Any] = {
    "X-Total-Count": {"description": "How many there are in all.", "schema": {"type": "integer"}},
    "Link": {"description": "The first, prev, next and last page (RFC 8288).", "schema": {"type": "string"}},
}


class PageQuery(BaseModel):
    """Which page of a list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(20, ge=1, le=100, description="Most entries on a page.")
    offset: Offset | None = Field(None, description="Entries to pass over.")
    skip: Offset | None = Field(None, description="A synonym of `offset`.")

    @model_validator(mode="after")
    def _has_one_offset(self) -> Self:
        if self.offset is not None and self.skip is not None:
            raise PydanticCustomError("synonyms", "offset and skip are the same parameter; send one of them")
        return self

    @property
    def start(self) -> int:
        """How many entries are passed over."""
        return self.offset or self.skip or 0

    def links(self, path: str, total: int) -> str:
        """The Link header (RFC 8288) to the first, previous, next and last page."""
        off_grid = self.start % self.limit if self.start < total else 0
        last = off_grid + max(total - 1 - off_grid, 0) // self.limit * self.limit
        targets = {"first": 0, "prev": max(min(self.start - self.limit, last), 0), "next": self.start + self.limit, "last": last}
        if self.start == 0:
            del targets["prev"]
        if targets["next"] >= total:
            del targets["next"]
        page = address(path, self, limit=self.limit)
        return ", ".join(f'<{page}&offset={offset}>; rel="{relation}"' for relation, offset in targets.items())


def address(path: str, query: BaseModel, **more: Any) -> str:
    """``path`` with the parameters that were given but for the page, and ``more``."""
    given: Mapping[str, Any] = query.model_dump(
        mode="json", exclude_unset=True, exclude={"offset", "skip", "limit"}, exclude_none=True
    )
    kept = {name: str(value).lower() if isinstance(value, bool) else value for name, value in given.items()}
    return f"{path}?{urlencode({**kept, **more})}"
