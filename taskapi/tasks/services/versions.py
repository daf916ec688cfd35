"""The history of a task: reads earlier versions and reverts to them."""

from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.clock import in_utc
from taskapi.core.errors import FieldError, InvalidInput, NotFound
from taskapi.core.fields import SentMoment, UTCDateTime
from taskapi.db import damaged
from taskapi.db.connection import BSON, Session
from taskapi.db.expressions import literals
from taskapi.db.integers import INT32_MAX
from taskapi.tasks.errors import VersionNotKept
from taskapi.tasks.fields import LEGACY_DEFAULTS
from taskapi.tasks.metadata import exact
from taskapi.tasks.schemas import OwnerRead, TaskRead, TaskUpdate
from taskapi.tasks.storage import rules
from taskapi.tasks.storage.history import Action, Versions, newest, undo
from taskapi.tasks.storage.pipelines import Write, update
from taskapi.tasks.storage.reading import PUBLIC, SOURCE, read, reference, sound, version_of
from taskapi.tasks.storage.repository import TaskRepository

WITH_HISTORY = {**PUBLIC, "history": 1}
REVERTED_FIELDS = {*TaskUpdate.model_fields, "completed_at", "progress"}
UNRECORDED = frozenset({"_id", "owner_id", "state", "owner", "version"})  # no change touches these fields
MAX_VERSION = INT32_MAX


class Change(BaseModel):
    """The change of one field by a write."""

    before: Any
    after: Any


class HistoryEntry(BaseModel):
    """One write of a task."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "version": 2,
                    "at": "2027-01-03T10:00:00.000Z",
                    "by": {"id": "65f1a2b3c4d5e6f708192a00", "username": "ada"},
                    "action": "update",
                    "request_id": "0f8fad5bd9cb469fa165b70867728950",
                    "changes": {"priority": {"before": 3, "after": 5}},
                }
            ]
        }
    )

    version: StrictInt = Field(description="The version that it created.")
    at: UTCDateTime
    by: OwnerRead
    action: Action
    request_id: str
    changes: dict[str, Change] = Field(description="The changed fields, each with its value before and after.")


class PastQuery(BaseModel):
    """The state of a task to read: the current or an earlier one."""

    model_config = ConfigDict(extra="forbid")

    version: int | None = Field(None, ge=1, le=MAX_VERSION, description="The task in this version.")
    as_of: SentMoment | None = Field(None, description="The task at this time (RFC 3339).")

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if self.version is not None and self.as_of is not None:
            raise PydanticCustomError("alternatives", "version and as_of cannot be combined")
        return self

    @property
    def is_past(self) -> bool:
        """Whether it asks for an earlier state."""
        return self.version is not None or self.as_of is not None


class Revert(BaseModel):
    """The version to restore."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"version": 1}]})

    version: int = Field(ge=1, le=MAX_VERSION, strict=True)


@dataclass(frozen=True, slots=True)
class VersionService:
    """Reads the earlier versions of a task, and reverts to them."""

    tasks: TaskRepository

    async def history(self, owner: UserRead, task_id: str) -> list[HistoryEntry]:
        """The history entries of a task, newest first. Raises NotFound."""
        return entries(await self.tasks.find(owner, task_id, projection=WITH_HISTORY), owner)

    async def state(self, owner: UserRead, task_id: str, query: PastQuery) -> BSON:
        """A stored task in the state that ``query`` asks for.

        Raises:
            NotFound: there is no such task or version, or the task did not exist at that time.
            VersionNotKept: the history does not go back that far.
        """
        stored = await self.tasks.find(owner, task_id, projection=WITH_HISTORY)
        version = query.version or version_of(stored)
        if query.as_of is not None:
            version = _version_at(sound(stored, owner), query.as_of)
        return state_at_version(stored, version)

    async def revert(
        self, owner: UserRead, task_id: str, version: int, versions: Versions, session: Session | None = None
    ) -> TaskRead:
        """Creates a new version of a task with the values of ``version``, unless it has them already.

        Raises:
            NotFound: there is no such task or version.
            VersionNotKept: the history does not go back that far.
            PreconditionFailed: the task has none of ``versions``.
            InvalidInput: an import has set the creation to a time after the completion of ``version``.
        """

        async def prepare(stored: BSON) -> Write | None:
            past, now = (sound(state_at_version(stored, number), owner) for number in (version, version_of(stored)))
            values = {name: past[name] for name in sorted(REVERTED_FIELDS)}
            if all(exact(value) == exact(now[name]) for name, value in values.items()):
                return None
            is_other = values["completed_at"] != now["completed_at"]
            if is_other and rules.completed_before_creation(dict(read({**stored, **values}, owner))):
                raise InvalidInput([FieldError("version", "was completed before the present created_at", "contradiction")])
            return update(literals(values), owner, Action.revert, derive=False)

        return await self.tasks.update_with_retry(owner, task_id, versions, prepare, WITH_HISTORY, session)


def entries(stored: BSON, owner: UserRead) -> list[HistoryEntry]:
    """The history entries of a task of ``owner``, newest first."""
    state = {**LEGACY_DEFAULTS, **stored}
    found = []
    after = read(state, owner).model_dump(mode="json")
    for entry in reversed(_sound_history(stored)):
        state |= entry["before"]
        before = read(state, owner).model_dump(mode="json")
        kept = [name for name in before if name in entry["before"] and name != "updated_at"]
        changed = [name for name in kept if exact(before[name]) != exact(after[name])]
        changes = {name: {"before": before[name], "after": after[name]} for name in changed}
        by = reference(owner) if entry["by"]["id"] == owner.object_id else entry["by"]
        found.append(HistoryEntry.model_validate({**entry, "by": by, "changes": changes}))
        after = before
    return found


def _sound_history(stored: BSON) -> list[BSON]:
    """The history of a task, oldest first, after the last damaged entry: states from before it would be wrong."""
    history = newest(stored.get("history", []))
    newest_first: list[BSON] = []
    for entry in reversed(history) if isinstance(history, list) else [history]:
        if not _is_sound(entry) or (newest_first and entry["version"] >= newest_first[-1]["version"]):
            damaged.note(SOURCE, stored.get("_id"), ["history"])
            break
        newest_first.append(entry)
    return newest_first[::-1]


def _is_sound(entry: Any) -> bool:
    try:
        HistoryEntry.model_validate({**entry, "changes": {}})
    except (ValidationError, TypeError):
        return False
    before = entry.get("before")
    return isinstance(before, dict) and UNRECORDED.isdisjoint(before)


def state_at_version(stored: BSON, version: int) -> BSON:
    """A stored task with its history, in the state of ``version``.

    Raises:
        NotFound: there is no such version yet.
        VersionNotKept: the history does not go back that far.
    """
    if version > version_of(stored):
        raise NotFound("The task has no such version")
    entries = _sound_history(stored)
    earliest = entries[0]["version"] - (entries[0]["action"] != Action.create) if entries else version_of(stored)
    if version < earliest:
        raise VersionNotKept
    later = [entry for entry in entries if entry["version"] > version]
    return {**undo(stored, later), "version": version}


def _version_at(stored: BSON, moment: datetime) -> int:
    """The version of a task at ``moment``.

    The time in an entry is when its request began, so it can be earlier than that in the entry before. A write took place after
    those before it: it counts from the latest of their times on.
    """
    if moment < in_utc(stored["created_at"]):
        raise NotFound("The task did not exist at that time")
    entries = _sound_history(stored)
    until = list(takewhile(lambda entry: in_utc(entry["at"]) <= moment, entries))
    if not until:
        if entries or in_utc(stored["updated_at"]) > moment:  # an import may also have set times before its entry
            raise VersionNotKept
        return version_of(stored)
    if until[-1]["action"] == Action.delete:
        raise NotFound("The task was in the trash at that time")
    later = entries[len(until) :]
    return int(later[0]["version"] - 1 if later else version_of(stored))
