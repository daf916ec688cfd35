"""The metadata of a task: any JSON object within limits, stored exactly as sent."""

import json
from collections.abc import Iterable, Iterator
from math import isfinite
from types import NoneType
from typing import Annotated, Any

from bson import Int64
from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from taskapi.db.integers import INT64_MAX, INT64_MIN

JSONObject = dict[str, Any]
_SCALARS = {str, int, Int64, bool, NoneType}  # types that are JSON, whatever their value

MAX_BYTES = 16 * 1024  # as compact JSON in UTF-8
MAX_DEPTH = 6  # the object itself is the first level
MAX_KEYS = 200


def _levels(value: Any) -> Iterator[list[Any]]:
    """Yields the values level by level, the outermost first; without recursion, because the input may be hostile."""
    level = [value]
    while level:
        yield level
        members = [tuple(part.values()) if isinstance(part, dict) else part for part in level if isinstance(part, dict | list)]
        level = [member for part in members for member in part]


def check(metadata: JSONObject) -> JSONObject:
    """Returns ``metadata`` if it is within the limits and MongoDB can store it unchanged. Raises PydanticCustomError."""
    keys = values = 0
    for depth, level in enumerate(_levels(metadata), 1):
        values += len(level)
        if values > MAX_BYTES // 2:  # each takes at least two bytes, so it is too large without looking further
            raise _too_large()
        if depth > MAX_DEPTH and any(isinstance(value, dict | list) for value in level):
            raise PydanticCustomError("metadata_depth", "should be nested at most 6 levels deep")
        for value in level:
            if isinstance(value, dict):
                keys += len(value)
                _check_names(value)
            elif isinstance(value, int) and not INT64_MIN <= value <= INT64_MAX:
                raise PydanticCustomError("metadata_integer", "should contain only integers of at most 64 bits")
        if keys > MAX_KEYS:
            raise PydanticCustomError("metadata_keys", "should have at most 200 keys in total")
    try:
        size = len(json.dumps(metadata, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode())
    except UnicodeEncodeError:
        raise PydanticCustomError("string_unicode", "should be valid Unicode") from None
    except ValueError:
        raise PydanticCustomError("finite_number", "should contain only finite numbers") from None
    if size > MAX_BYTES:
        raise _too_large()
    return metadata


def _too_large() -> PydanticCustomError:
    return PydanticCustomError("metadata_size", "should be at most 16 KiB of JSON")


def _check_names(members: JSONObject) -> None:
    for name in members:
        if name.startswith("$"):
            raise PydanticCustomError("metadata_key", "should not have a key that starts with a dollar sign")
        if "\x00" in name:
            raise PydanticCustomError("metadata_key", "should not have a key with the NUL character")


def is_unicode(text: str) -> bool:
    """Whether ``text`` has no lone surrogate, which UTF-8 cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def exact(value: Any) -> str:
    """A value as text that differs for different values: 1, 1.0 and True are equal to Python, and in part to MongoDB."""
    return json.dumps(value, sort_keys=True, default=str)


def merge(target: Any, patch: Any) -> Any:
    """Returns ``target`` after the merge patch ``patch`` (RFC 7396, section 2). Neither is modified."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


METADATA_EXAMPLE: JSONObject = {"project": "Apollo", "estimate": {"hours": 12, "rate": 80.5}}


def _are_json(values: Iterable[Any]) -> bool:
    for value in values:  # a plain loop: every task that is read comes through here
        kind = type(value)
        if kind in _SCALARS:
            continue
        if kind is dict:
            if not _are_json(value.values()):
                return False
        elif kind is list:
            if not _are_json(value):
                return False
        elif kind is not float or not isfinite(value):
            return False
    return True


def _is_json(metadata: JSONObject) -> JSONObject:
    if metadata and not _are_json(metadata.values()):
        raise PydanticCustomError("json", "contains a value that is not JSON")
    return metadata


StoredMetadata = Annotated[JSONObject, AfterValidator(_is_json)]
"""Stored metadata. A script may have stored values in it that are not JSON, such as an ObjectId or a time."""


Metadata = Annotated[
    JSONObject,
    AfterValidator(check),
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": True,
            "maxProperties": MAX_KEYS,
            "propertyNames": {"pattern": "^(?!\\$)[^\\x00]*$"},
            "examples": [METADATA_EXAMPLE],
            "description": "Any JSON object of at most 16 KiB, 6 levels and 200 keys. No key may start with `$`.",
        }
    ),
]
