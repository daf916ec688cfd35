"""Pages of a list: the parameters of pages by number, and the links between pages."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Self
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

LARGEST_OFFSET = 2**31 - 1
LONGEST_ADDRESS = 1000  # characters of a link; when one is longer only the next page is linked, for headers have limits

LIMIT: Any = Field(20, ge=1, le=100, description="Most entries on a page.")
Offset = Annotated[int, Field(ge=0, le=LARGEST_OFFSET)]

LIST_HEADERS: dict[str, Any] = {
    "X-Total-Count": {"description": "How many there are in all.", "schema": {"type": "integer"}},
    "Link": {"description": "The first, prev, next and last page (RFC 8288).", "schema": {"type": "string"}},
}


class PageQuery(BaseModel):
    """Which page of a list, by number."""

    model_config = ConfigDict(extra="forbid")

    limit: int = LIMIT
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
        return header(path, self, {relation: {"offset": offset} for relation, offset in targets.items()})


def header(path: str, query: PageQuery, targets: Mapping[str, Mapping[str, Any]]) -> str:
    """A Link header: by its relation, the page parameter of each target; all others are those of ``query``."""
    page = f"{path}?{urlencode({**_given(query), 'limit': query.limit})}"
    addresses = {relation: f"{page}&{urlencode(target)}" for relation, target in targets.items()}
    if any(len(address) > LONGEST_ADDRESS for address in addresses.values()):
        addresses = {relation: address for relation, address in addresses.items() if relation == "next"}
    return ", ".join(f'<{address}>; rel="{relation}"' for relation, address in addresses.items())


def _given(query: BaseModel) -> dict[str, Any]:
    """The parameters that were given, as they are written in a query string, but for the page."""
    given = query.model_dump(mode="json", exclude_unset=True, exclude={"offset", "skip", "limit", "cursor"}, exclude_none=True)
    return {name: value if isinstance(value, str) else json.dumps(value, separators=(",", ":")) for name, value in given.items()}
