"""Stored documents with values that this service never writes, such as text instead of a number.

Such a document is shown as far as possible, and the log names it. An intact document costs only its validation: only if that
fails is the document read again, field by field. A field that cannot be shown gets a neutral value that its schema accepts:
its default, null, empty, false, 1, the first choice, or for a time the one in the document's id.
"""

import logging
from collections.abc import Collection, Iterator, Sequence
from contextvars import ContextVar
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from hashlib import blake2b
from math import isfinite
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from bson import DBRef, Decimal128, ObjectId
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from taskapi.core.clock import in_utc, midnight, rfc3339
from taskapi.core.fields import absent
from taskapi.db.integers import INT32_MAX, INT32_MIN

log = logging.getLogger(__name__)

Model = TypeVar("Model", bound=BaseModel)
BSON = dict[str, Any]

MAX_NAMED = 10  # documents that the log names per request
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MISSING: Any = object()


Findings = set[tuple[str, str]]
"""The damaged documents that one request has read, as pairs of collection and id."""

findings: ContextVar[Findings | None] = ContextVar("findings", default=None)
"""The findings of the current request."""


def read(model: type[Model], stored: BSON, source: str) -> Model:
    """``stored``, a document of the collection ``source``, as ``model``."""
    try:
        return model.model_validate(stored)
    except ValidationError as error:
        return model.model_validate(_repair(model, stored, source, error))


def read_all(model: type[Model], stored: list[BSON], source: str) -> list[Model]:
    """Each document of ``stored``, as ``read`` returns it."""
    try:
        found: list[Model] = _adapter(list[model]).validate_python(stored)  # type: ignore[valid-type]
        return found
    except ValidationError:
        return [read(model, each, source) for each in stored]


def read_part(model: type[Model], part: BSON, names: Collection[str], stored: BSON, source: str) -> Model:
    """``part``, the fields ``names`` of the document ``stored``, as ``model``, all of whose fields are optional."""
    wrong = [name for name in names if name not in part]
    try:
        shown = model.model_validate(part)
        if not wrong:
            return shown
    except ValidationError as error:
        wrong += _wrong(error)
    note(source, stored.get("_id"), wrong)
    return model.model_validate(_replace_damaged(model, part, wrong, born(stored), ""))


def sound(model: type[Model], stored: BSON, source: str) -> BSON:
    """``stored`` itself if ``model`` accepts it; otherwise a copy with the values that ``read`` would show, in stored form."""
    try:
        model.model_validate(stored)
    except ValidationError as error:
        return _repair(model, stored, source, error)
    return stored


def note(source: str, document_id: Any, names: Sequence[str]) -> None:
    """Logs that the fields ``names`` of a document are damaged: once per document and request, at most ten documents."""
    met = findings.get()
    if met is not None:
        before = len(met)
        met.add((source, str(document_id)))
        if before >= MAX_NAMED or len(met) == before:
            return
    fields = {"collection": source, "document": str(document_id)[:100], "damaged": ",".join(names)}
    log.warning("damaged document", extra={"fields": fields})


def note_unnamed(met: Findings) -> None:
    """Logs how many damaged documents a request has read, if not all were named."""
    if len(met) > MAX_NAMED:
        log.warning("more damaged documents", extra={"fields": {"documents": len(met), "named": MAX_NAMED}})


def json_value(value: Any) -> Any:
    """A stored value as JSON; None if JSON cannot represent it."""
    if isinstance(value, DBRef):
        value = value.as_doc()
    if isinstance(value, dict):
        return {str(name): json_value(member) for name, member in value.items()}
    if isinstance(value, list):
        return [json_value(member) for member in value]
    if isinstance(value, datetime):
        return rfc3339(_utc(value))
    if isinstance(value, ObjectId | Decimal128):
        return str(value)
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value if isinstance(value, str | int) else None


def integer(value: Any) -> int:
    """The integer that is shown for a stored number; 1 if it is not a number. Pipelines apply the same rule to ``version``.

    Of a number that is not stored as an integer, the whole part is shown if a 32-bit integer holds it, else 1 as well.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    number = _finite(value)
    return int(number) if number is not None and INT32_MIN <= int(number) <= INT32_MAX else 1


def _finite(value: Any) -> float | Decimal | None:
    """A stored float or decimal; None if it is anything else, or not finite."""
    if isinstance(value, Decimal128):
        number = value.to_decimal()
        return number if number.is_finite() else None
    return value if isinstance(value, float) and isfinite(value) else None


def show(info: FieldInfo, value: Any, born: datetime, place: str = "") -> Any:
    """What a field shows for ``value``; MISSING if its default is to be used. ``born`` is when the document was created."""
    annotation = Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
    shown = _first(annotation, _readings(_kind(annotation), value, born, place))
    if shown is not MISSING or info.default is not PydanticUndefined or info.default_factory not in (None, absent):
        return shown
    return _first(annotation, _neutral(annotation, value, born, place))


def born(stored: BSON) -> datetime:
    """When a document was created, according to its id."""
    document_id = stored.get("_id")
    return document_id.generation_time if isinstance(document_id, ObjectId) else EPOCH


def _repair(model: type[BaseModel], stored: BSON, source: str, error: ValidationError) -> BSON:
    wrong = _wrong(error)
    note(source, stored.get("_id"), wrong)
    return _replace_damaged(model, stored, wrong, born(stored), "")


def _wrong(error: ValidationError) -> list[str]:
    """The stored names of the invalid fields."""
    return list(dict.fromkeys(str(each["loc"][0]) for each in error.errors(include_url=False, include_input=False)))


def _replace_damaged(model: type[BaseModel], stored: BSON, wrong: Sequence[str], at: datetime, place: str) -> BSON:
    fields = {str(info.validation_alias or name): info for name, info in model.model_fields.items()}
    result = dict(stored)
    for name in wrong:
        shown = show(fields[name], stored.get(name, MISSING), at, f"{place}.{name}")
        result.pop(name, None)
        if shown is not MISSING:
            result[name] = shown
    return result


@lru_cache(500)
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)


def _first(annotation: Any, candidates: Iterator[Any]) -> Any:
    """The first valid candidate; MISSING if there is none."""
    for candidate in candidates:
        try:
            _adapter(annotation).validate_python(candidate)
        except ValidationError:
            continue
        return candidate
    return MISSING


def _kind(annotation: Any) -> Any:
    """The type within ``Annotated`` and ``None``."""
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return _kind(next(each for each in get_args(annotation) if each is not NoneType))
    return annotation


def _readings(kind: Any, value: Any, at: datetime, place: str) -> Iterator[Any]:
    """The ways to read a stored value, best first."""
    if value is MISSING:
        return
    yield value
    if get_origin(kind) is list:
        (member,) = get_args(kind)
        each_of = enumerate(value if isinstance(value, list) else [value])
        shown = [_first(member, _readings(_kind(member), each, at, f"{place}.{number}")) for number, each in each_of]
        yield [each for each in shown if each is not MISSING]
    elif get_origin(kind) is dict:
        members = json_value(value)
        if isinstance(members, dict):
            yield {
                name: each for name, each in members.items() if get_args(kind)[1] is Any or isinstance(each, get_args(kind)[1])
            }
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        if isinstance(value, dict):
            try:
                kind.model_validate(value)
            except ValidationError as error:
                yield _replace_damaged(kind, value, _wrong(error), at, place)
    elif kind is str:
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield str(value)
    elif kind is float:
        if (number := _finite(value)) is not None:
            yield float(number)
    elif kind is int:
        if isinstance(value, float | Decimal128):
            yield integer(value)
    elif kind in (date, datetime):
        moment = _moment(value)
        if moment is not None:
            yield midnight(moment.date()) if kind is date else moment


def _moment(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return _utc(value)
    if isinstance(value, str):
        try:
            return _utc(datetime.fromisoformat(value))
        except (ValueError, OverflowError):
            return None
    return None


def _utc(moment: datetime) -> datetime:
    return in_utc(moment) if moment.tzinfo is None else moment.astimezone(UTC)


def _neutral(annotation: Any, value: Any, at: datetime, place: str) -> Iterator[Any]:
    yield None
    kind = _kind(annotation)
    if kind is str:
        yield ""
        # An id derived from the value: identical at every read, and unlike all others.
        yield ObjectId(blake2b(f"{place} {value!r}".encode(errors="replace"), digest_size=12).digest())
    elif kind is datetime:
        yield at
    elif get_origin(kind) is Literal:
        yield get_args(kind)[0]
    elif isinstance(kind, type) and issubclass(kind, Enum):
        yield next(iter(kind))
    else:
        yield {list: [], dict: {}, bool: False, int: 1, float: 0.0}[get_origin(kind) or kind]
