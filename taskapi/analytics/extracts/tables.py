"""The tables of an extract: their columns, in order, and what they mean."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

SCHEMA_VERSION: Final = "1.0"  # the first number changes when readers have to
TASKS, USERS = "tasks", "users"


class Kind(StrEnum):
    """The type of a column. Every column can be null."""

    text = "text"
    integer = "integer"
    number = "number"
    flag = "flag"
    moment = "moment"  # in UTC, to the millisecond
    day = "day"
    texts = "list of texts"
    json = "JSON"  # as text


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    kind: Kind
    description: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table. Rows are tuples of the values of its columns."""

    name: str
    description: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """The column of that name."""
        return self.columns[self.names.index(name)]


TASK_CHANGED_AT = Column("task_changed_at", Kind.moment, "the `changed_at` of the task when this row was read")
TASK_ID = Column("task_id", Kind.text, "the task")
OWNER_ID = Column("owner_id", Kind.text, "the user whose task it is; never changes")

TABLES: Final = {
    table.name: table
    for table in (
        Table(
            TASKS,
            "one row each time that a task was found changed",
            (
                Column("_id", Kind.text, "the task: 24 hexadecimal digits"),
                OWNER_ID,
                Column("owner", Kind.text, "that user's name"),
                Column("state", Kind.text, "`active`, `trash`, `purged`, or `erased` with the account"),
                Column("deleted", Kind.flag, "whether the state is another than `active`"),
                Column("title", Kind.text, "null, like most columns, once the task is purged or erased"),
                Column("description", Kind.text, ""),
                Column("status", Kind.text, "`todo`, `in_progress` or `done`"),
                Column("completed", Kind.flag, "whether the status is `done`"),
                Column("completed_at", Kind.moment, "null unless it is done"),
                Column("priority", Kind.integer, "1 (lowest) to 5"),
                Column("due_date", Kind.day, ""),
                Column("start_date", Kind.day, ""),
                Column("estimate_minutes", Kind.integer, ""),
                Column("tags", Kind.texts, ""),
                Column("links", Kind.texts, ""),
                Column("checklist_items", Kind.integer, "how many there are"),
                Column("checklist_done", Kind.integer, "how many of them are done"),
                Column("progress", Kind.number, "0 to 1"),
                Column("metadata", Kind.json, ""),
                Column("key", Kind.text, "the external key; null without one"),
                Column("version", Kind.integer, "grows with each write"),
                Column("created_at", Kind.moment, ""),
                Column("updated_at", Kind.moment, ""),
                Column("changed_at", Kind.moment, "the last write, whatever wrote; 1970 if none is recorded"),
                Column("deleted_at", Kind.moment, "when it was put into the trash; null outside of it"),
                Column("expires_at", Kind.moment, "when it is purged, or its tombstone removed"),
                Column("lead_time_days", Kind.number, "from creation to completion; null unless it is done"),
            ),
        ),
        Table(
            "status_periods",
            "the statuses that a task has had, oldest first; also of tasks in the trash",
            (
                TASK_ID,
                OWNER_ID,
                Column("status", Kind.text, "`todo`, `in_progress` or `done`"),
                Column("from", Kind.moment, "when the task got it"),
                Column("until", Kind.moment, "when it got the next one; null while it has this one"),
                Column("days", Kind.number, "between these two; null while it has this one"),
                TASK_CHANGED_AT,
            ),
        ),
        Table(
            "task_changes",
            "one row for each field that a write changed, and one without a field for a write that changed none",
            (
                TASK_ID,
                OWNER_ID,
                Column("version", Kind.integer, "the version that the write created"),
                Column("at", Kind.moment, "when it was written"),
                Column("by_id", Kind.text, "the user who wrote"),
                Column("by", Kind.text, "that user's name"),
                Column("action", Kind.text, "`create`, `update`, `revert`, `delete` or `restore`"),
                Column("field", Kind.text, "the stored name of the field"),
                Column("before", Kind.json, "its value before the write"),
                Column("after", Kind.json, "its value after it"),
                TASK_CHANGED_AT,
            ),
        ),
        Table(
            "checklist_items",
            "the items in the checklists of tasks; also of tasks in the trash",
            (
                Column("_id", Kind.text, "the item"),
                TASK_ID,
                OWNER_ID,
                Column("position", Kind.integer, "in the checklist, from 0 on"),
                Column("text", Kind.text, ""),
                Column("done", Kind.flag, ""),
                Column("task_status", Kind.text, "the status of the task"),
                TASK_CHANGED_AT,
            ),
        ),
        Table(
            USERS,
            "all accounts as they are now, replaced as a whole",
            (
                Column("_id", Kind.text, "the user"),
                Column("username", Kind.text, ""),
                Column("created_at", Kind.moment, ""),
                Column("updated_at", Kind.moment, ""),
                Column("disabled", Kind.flag, "whether an admin has disabled the account"),
                Column("role", Kind.text, "`user` or `admin`"),
                Column("two_factor", Kind.flag, "whether signing in requires a second factor"),
                Column("has_email", Kind.flag, "whether the account has an e-mail address"),
                Column("email_verified", Kind.flag, "whether the owner has proved access to it"),
                Column("deletion_due_at", Kind.moment, "when the account is erased; null unless that was requested"),
            ),
        ),
    )
}
OPTIONAL: Final = tuple(name for name in TABLES if name not in (TASKS, USERS))
"""The tables that an extract can do without. The rows of each come from tasks, and are written again with their task."""
