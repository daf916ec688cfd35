"""The parameters of a list of tasks, and the one place where they become a MongoDB query."""

from collections.abc import Sequence
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple, Self

from pydantic import ConfigDict, Field, model_validator

from taskapi.core.errors import FieldError, InvalidInput
from taskapi.db.connection import BSON
from taskapi.tasks.query import index_hints
from taskapi.tasks.query.cursor import CursorText
from taskapi.tasks.query.filter import EXAMPLE as WHERE_EXAMPLE
from taskapi.tasks.query.projection import Fields
from taskapi.tasks.query.selection import Selection, TaskFilters, WhereParameter
from taskapi.tasks.query.sort import Order, Sort, choose_order, has_undated_last
from taskapi.tasks.query.stages import adapt_filter, ordered_stages, total_stages
from taskapi.tasks.storage.scope import Scope
from taskapi.web.pagination import LIMIT, PageQuery, header

MAX_COUNTED = 10_000  # by an estimate
MAX_CHEAP_START = 1000  # entries that can be skipped at hardly any cost
MAX_CHEAP_LIMIT = 20  # tasks of a page: the default
INDEXED_FILTERS = {"status", "completed", "priority", "tag"}  # each alone, newest first


class Count(StrEnum):
    """How the total is counted."""

    exact = "exact"
    estimate = "estimate"
    none = "none"


class Plan(NamedTuple):
    """The pipelines of a page, and of the total if it is requested."""

    page: list[BSON]
    hint: str | None  # the index for both; None leaves it to MongoDB
    total: list[BSON] | None = None
    hint_for_few: str | None = None  # the index for both if the owner has few tasks
    is_total_apart: bool = False  # the total needs a query of its own: MongoDB accepts no hint for a $unionWith
    all_of: Scope | None = None  # if the total is that of all these tasks


class TaskSearch(Selection):
    """A search: filters, order, fields and page."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"where": WHERE_EXAMPLE, "q": "report", "sort": "-priority,due_date", "fields": "id,title,due_date", "limit": 50}
            ]
        }
    )

    sort: Sort | None = None
    fields: Fields | None = None
    limit: int = LIMIT
    cursor: CursorText | None = None
    count: Count | None = Field(
        None,
        description=f"The total: `exact`, the default except with `cursor`; `estimate`, which counts to {MAX_COUNTED:,}, and "
        "`X-Total-Count-Relation` says whether that is the total (`eq`) or less than it (`gte`); or `none`.",
    )

    @property
    def start(self) -> int:
        """How many entries are skipped."""
        return 0

    @property
    def counting(self) -> Count:
        """How the total is counted."""
        return self.count or (Count.exact if self.cursor is None else Count.none)

    @cached_property
    def order(self) -> Order:
        """The sort of MongoDB, always total."""
        return choose_order(self.sort, self.q)

    @property
    def is_expensive(self) -> bool:
        """Whether MongoDB may examine many tasks: the page is long, or no index serves filters and order together."""
        if self.q or self.where or self.start > MAX_CHEAP_START or self.limit > MAX_CHEAP_LIMIT:
            return True
        if not index_hints.is_served(self.order):
            return True
        filters = self.model_fields_set & _FILTERS - {"where", "q", "tz"}
        return bool(filters) and (self.sort is not None or len(filters) > 1 or not filters <= INDEXED_FILTERS)

    def cursor_context(self, scope: Scope) -> bytes:
        """What a cursor is bound to: the owner, the filters and the order."""
        filters = self.model_dump_json(include=_FILTERS, exclude_none=True)
        # These orders have changed since version 1.2, so its cursors are no longer valid in them.
        changed = "title" in self.order or has_undated_last(self.order)
        return f"{scope.owner_id} {self.order} {filters}{' 1.3' if changed else ''}".encode()

    def plan(self, scope: Scope, projection: BSON, after: Sequence[Any] | None = None) -> Plan:
        """Plans the query for a page, plus one task that shows whether there is a next page, and for the total if requested.

        ``after`` holds the sort values of the last task of the previous page.
        """
        matching = adapt_filter(self.filter(scope), self.order)
        page = ordered_stages(matching, self.order, projection, after, self.start, self.limit + 1)
        hint = index_hints.choose(matching, self.order, after_place=after is not None)
        for_few = index_hints.choose_for_few(matching, self.order)
        if self.counting is Count.none:
            return Plan(page, hint, None, for_few)
        total = total_stages(matching, self.order, MAX_COUNTED if self.counting is Count.estimate else None)
        is_apart = (hint is not None or for_few is not None) and "$and" in matching
        counts_all = self.counting is Count.exact and matching == scope.outside_trash
        return Plan(page, hint, total, for_few, is_apart, scope if counts_all else None)


class TaskQuery(PageQuery, TaskSearch, TaskFilters):
    """A search in a query string, which can also ask for pages by number."""

    where: WhereParameter | None = None

    @model_validator(mode="after")
    def _has_one_start(self) -> Self:
        if self.cursor is not None and (self.offset, self.skip) != (None, None):
            raise InvalidInput([FieldError("cursor", "cannot be combined with offset or skip", "two_starts")])
        return self

    def link_header(self, path: str, total: int | None, cursor: str | None) -> str:
        """The Link header (RFC 8288): by number if the page was requested by number, otherwise by ``cursor``."""
        if self.offset is not None or self.skip is not None:
            return self.links(path, total, more=cursor is not None)
        targets = {"first": "offset=0"}
        if cursor is not None:
            targets["next"] = f"cursor={cursor}"
        if self.cursor is None and total is not None:
            targets["last"] = f"offset={self.last(total)}"
        return header(path, self, targets)


_FILTERS = set(TaskFilters.model_fields)
