"""The public fields of a task by name: where MongoDB keeps each, and what it holds."""

from collections.abc import Mapping
from enum import Enum, auto
from typing import NamedTuple

from taskapi.tasks.metadata import is_unicode

MAX_PATH_DEPTH = 6  # names below `metadata`, which is nested as deep


class Kind(Enum):
    """What a field holds, or each member of a field that is a list."""

    text = auto()
    tag = auto()  # text, trimmed and in lower case
    link = auto()  # text: a web address
    status = auto()
    flag = auto()
    integer = auto()
    number = auto()
    day = auto()  # midnight UTC of the day
    moment = auto()
    identity = auto()  # an ObjectId
    members = auto()  # an object whose members are fields of their own
    metadata = auto()  # the whole object
    json = auto()  # whatever callers keep below `metadata`


class PublicField(NamedTuple):
    """A field that callers know. ``stored`` is its path in the stored document."""

    stored: str
    kind: Kind
    nullable: bool = False
    listed: bool = False  # a list of such values


FIELDS: Mapping[str, PublicField] = {
    "id": PublicField("_id", Kind.identity),
    "title": PublicField("title", Kind.text),
    "description": PublicField("description", Kind.text),
    "status": PublicField("status", Kind.status),
    "completed": PublicField("completed", Kind.flag),
    "completed_at": PublicField("completed_at", Kind.moment, nullable=True),
    "priority": PublicField("priority", Kind.integer),
    "due_date": PublicField("due_date", Kind.day, nullable=True),
    "tags": PublicField("tags", Kind.tag, listed=True),
    "links": PublicField("links", Kind.link, listed=True),
    "checklist": PublicField("checklist", Kind.members, listed=True),
    "checklist.id": PublicField("checklist.id", Kind.identity),
    "checklist.text": PublicField("checklist.text", Kind.text),
    "checklist.done": PublicField("checklist.done", Kind.flag),
    "progress": PublicField("progress", Kind.number),
    "metadata": PublicField("metadata", Kind.metadata),
    "key": PublicField("key", Kind.text, nullable=True),
    "owner": PublicField("owner", Kind.members),
    "owner.id": PublicField("owner.id", Kind.identity),
    "owner.username": PublicField("owner.username", Kind.text),
    "created_at": PublicField("created_at", Kind.moment),
    "updated_at": PublicField("updated_at", Kind.moment),
    "version": PublicField("version", Kind.integer),
}


def is_index(name: str) -> bool:
    """Whether a name within a path is the number of an element, where it leads into an array."""
    return name == "0" or (name.isascii() and name.isdecimal() and name[0] != "0")


def field(name: str) -> PublicField | None:
    """The public field of that name, also one below ``metadata``; None when there is no such field."""
    if name.startswith("metadata."):
        return free(name)
    return FIELDS.get(name)


def free(name: str) -> PublicField | None:
    """A dotted path into what callers keep, as it is; None when it cannot be one.

    A key that holds a dot cannot be named.
    """
    segments = name.removeprefix("metadata.").split(".")
    if len(segments) > MAX_PATH_DEPTH or "\x00" in name or not is_unicode(name):
        return None
    if any(not segment or segment.startswith("$") for segment in segments):
        return None
    return PublicField(name, Kind.json, nullable=True)
