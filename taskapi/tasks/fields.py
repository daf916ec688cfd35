"""The public fields of a task by name, derived from the definitions of ``TaskRead``, ``TaskCreate`` and ``TaskUpdate``."""

from collections.abc import Iterator, Mapping
from types import NoneType
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from taskapi.tasks.definitions import Kind, NotAfter, TaskField
from taskapi.tasks.metadata import is_unicode
from taskapi.tasks.schemas import TaskCreate, TaskRead, TaskUpdate

MAX_PATH_DEPTH = 6  # names below `metadata`, which can be nested that deeply


class PublicField(NamedTuple):
    """A field that callers can name. ``stored`` is its path in the stored document."""

    stored: str
    kind: Kind
    nullable: bool = False
    listed: bool = False  # a list of such values
    sortable: bool = False


def _is_nullable(info: FieldInfo) -> bool:
    return NoneType in get_args(info.annotation)


def _public(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, PublicField]]:
    """The fields of ``model`` and of its nested models, by their dotted names."""
    for name, info in model.model_fields.items():
        (definition,) = (each for each in info.metadata if isinstance(each, TaskField))
        path, listed = prefix + name, get_origin(info.annotation) is list
        stored = prefix + str(info.validation_alias or name)
        yield path, PublicField(stored, definition.kind, _is_nullable(info), listed, definition.sortable)
        member = get_args(info.annotation)[0] if listed else info.annotation
        if isinstance(member, type) and issubclass(member, BaseModel):
            yield from _public(member, f"{path}.")


FIELDS: Mapping[str, PublicField] = dict(_public(TaskRead))
SORTABLE = tuple(name for name, known in FIELDS.items() if known.sortable)
DAYS = frozenset(name for name, known in FIELDS.items() if known.kind is Kind.day)
TIMES = frozenset(name for name, known in FIELDS.items() if known.kind in (Kind.day, Kind.moment))

OPTIONAL_FIELDS = frozenset(name for name, info in TaskRead.model_fields.items() if not info.is_required())
LEGACY_DEFAULTS: Mapping[str, Any] = {name: TaskRead.model_fields[name].get_default() for name in OPTIONAL_FIELDS - {"key"}}
"""The fields that earlier versions of the service did not store, with their defaults. A key can be absent in any version."""

DIRECT_FIELDS = tuple(name for name in TaskUpdate.model_fields if name not in ("status", "completed", "checklist", "metadata"))
"""The fields that are stored as sent, days as their midnight. The others depend on stored values."""
EMPTY_VALUES: Mapping[str, Any] = {
    name: TaskCreate.model_fields[name].get_default() for name, info in TaskUpdate.model_fields.items() if _is_nullable(info)
}
"""The fields that null clears, with their empty values."""
NOT_AFTER: Mapping[str, str] = {
    name: rule.other for name, info in TaskUpdate.model_fields.items() for rule in info.metadata if isinstance(rule, NotAfter)
}
"""The fields that must not be after another one, with that field."""


def is_index(name: str) -> bool:
    """Whether a name in a path is the index of an element, if the path leads into an array."""
    return name == "0" or (name.isascii() and name.isdecimal() and name[0] != "0")


def field(name: str) -> PublicField | None:
    """The public field of that name, or a path below ``metadata``; None if there is no such field."""
    if name.startswith("metadata."):
        return free(name)
    return FIELDS.get(name)


def free(name: str) -> PublicField | None:
    """The field for a dotted path below ``metadata``; None if it is not a valid path.

    A key that contains a dot cannot be named.
    """
    segments = name.removeprefix("metadata.").split(".")
    if len(segments) > MAX_PATH_DEPTH or "\x00" in name or not is_unicode(name):
        return None
    if any(not segment or segment.startswith("$") for segment in segments):
        return None
    return PublicField(name, Kind.json, nullable=True)
