"""Renders stored tasks as JSON, straight from the BSON that MongoDB sends.

What this service stored was validated when it was written. So a task whose values have the types that it writes is put into JSON
without a model; every other task is read as ``reading`` does, which mends what a script has damaged. Both give the same bytes.

The JSON of a task depends on its BSON alone, so the renderer remembers it by that: the next time MongoDB sends the same bytes,
nothing is decoded. It cannot be out of date, because MongoDB is asked each time; a task that has changed has other bytes.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from types import NoneType
from typing import Any, Final, NamedTuple, get_args, get_origin

from bson import ObjectId
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_json

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.clock import rfc3339
from taskapi.db.connection import BSON
from taskapi.db.raw import Raw, decode
from taskapi.tasks.definitions import Kind, TaskField
from taskapi.tasks.metadata import check_json
from taskapi.tasks.schemas import Status, TaskRead
from taskapi.tasks.storage.reading import read

MAX_REMEMBERED_BYTES = 8 * 1024 * 1024  # per worker: about 5,000 tasks of a page of text
MAX_REMEMBERED_TASK = 32 * 1024  # bytes: a few long tasks must not displace thousands of others
OVERHEAD = 600  # bytes of the objects around a remembered task
MIDNIGHT = "T00:00:00"


class Rendering(NamedTuple):
    """A task as JSON, and what its headers need."""

    json: bytes
    id: str
    version: int


class _Remembered(NamedTuple):
    owner: tuple[str, str]  # the id and name that the JSON shows
    rendering: Rendering


class Unusual(ValueError):
    """A stored value that this service does not write."""


class TaskRenderer:
    """Renders the tasks of one application."""

    def __init__(self, max_bytes: int = MAX_REMEMBERED_BYTES) -> None:
        self._max_bytes, self._bytes = max_bytes, 0
        self._remembered: OrderedDict[Raw, _Remembered] = OrderedDict()  # the least recently shown first

    def render(self, stored: Raw, owner: UserRead) -> Rendering:
        """A stored task of ``owner``, with the owner's current name."""
        known = self._remembered.get(stored)
        if known is not None:
            self._remembered.move_to_end(stored)
        else:
            known = self._render(stored)
        if known is not None and known.owner == (owner.id, owner.username):
            return known.rendering
        task = read(decode(stored), owner)
        return Rendering(task.model_dump_json().encode(), task.id, task.version)

    def _render(self, stored: Raw) -> _Remembered | None:
        """Renders a task and remembers it; None if it has unusual values."""
        try:
            task = _shape(TASK, decode(stored))
        except Unusual:
            return None
        owner = task["owner"]
        known = _Remembered((owner["id"], owner["username"]), Rendering(to_json(task), task["id"], task["version"]))
        if len(stored) <= MAX_REMEMBERED_TASK:
            self._remembered[stored] = known
            self._bytes += _size(stored, known)
            while self._bytes > self._max_bytes:
                self._bytes -= _size(*self._remembered.popitem(last=False))
        return known


def _size(stored: Raw, known: _Remembered) -> int:
    return len(stored) + len(known.rendering.json) + OVERHEAD


class _Field(NamedTuple):
    name: str
    stored: str
    default: Any  # pydantic's mark of a required field is of no stored type
    types: Collection[type]  # that this service stores, and that JSON shows alike unless they are converted
    convert: Callable[[Any], Any] | None  # for all but null


def _shape(fields: list[_Field], stored: Mapping[str, Any]) -> BSON:
    """The fields of a stored object in the types of JSON. Raises Unusual."""
    shaped: BSON = {}
    for name, stored_name, default, types, convert in fields:
        value = stored.get(stored_name, default)
        if type(value) not in types:
            raise Unusual(stored_name)
        shaped[name] = value if convert is None or value is None else convert(value)
    return shaped


def _day(value: datetime) -> str:
    text = value.isoformat()
    if not text.endswith(MIDNIGHT):
        raise Unusual
    return text[: -len(MIDNIGHT)]


def _status(value: str) -> str:
    if value not in STATUSES:
        raise Unusual
    return value


def _share(value: float) -> float:
    if not 0 <= value <= 1:
        raise Unusual
    return value


def _texts(values: list[Any]) -> list[str]:
    for value in values:
        if type(value) is not str:
            raise Unusual
    return values


def _metadata(value: BSON) -> BSON:
    try:
        return check_json(value)
    except ValueError:
        raise Unusual from None


STATUSES = frozenset(str(status) for status in Status)
KINDS: Final[Mapping[Kind, tuple[type, Callable[[Any], Any] | None]]] = {
    Kind.text: (str, None),
    Kind.status: (str, _status),
    Kind.flag: (bool, None),
    Kind.integer: (int, None),
    Kind.number: (float, _share),
    Kind.day: (datetime, _day),
    Kind.moment: (datetime, rfc3339),
    Kind.object_id: (ObjectId, str),
    Kind.metadata: (dict, _metadata),
}


def _fields(model: type[BaseModel]) -> list[_Field]:
    return [_field(name, info) for name, info in model.model_fields.items()]


def _field(name: str, info: FieldInfo) -> _Field:
    (definition,) = (each for each in info.metadata if isinstance(each, TaskField))
    annotation: Any = info.annotation
    kind, convert = KINDS.get(definition.kind, (dict, None))
    if get_origin(annotation) is list:
        (annotation,), kind, convert = get_args(annotation), list, _texts
    if definition.kind is Kind.members:
        members = _fields(annotation)
        convert = (lambda value: _shape(members, value)) if kind is dict else (lambda values: _shape_each(members, values))
    types = {kind, NoneType} if NoneType in get_args(annotation) else {kind}
    return _Field(name, str(info.validation_alias or name), info.default, types, convert)


def _shape_each(fields: list[_Field], values: list[Any]) -> list[BSON]:
    for value in values:
        if type(value) is not dict:
            raise Unusual
    return [_shape(fields, value) for value in values]


TASK: Final = _fields(TaskRead)
