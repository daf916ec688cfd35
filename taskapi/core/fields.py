"""The value types of requests and responses, each with its rule."""

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, LiteralString
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bson import ObjectId
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    Strict,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from taskapi.core.clock import has_no_such_day, parse_rfc3339, rfc3339
from taskapi.core.unicode import has_controls, is_invisible, nfc

MAX_COMPOSED_LENGTH = 10_000  # NFC combines at most four characters into one: longer text exceeds every limit in any form
OBJECT_ID_EXAMPLE = "65f1a2b3c4d5e6f708192a3b"
_NUL = r"\x00"
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def _storable(text: str) -> str:
    if "\x00" in text:
        raise PydanticCustomError("string_nul", "must not contain the NUL character")
    return text


def _plain(text: str) -> str:
    if has_controls(_storable(text)):
        raise PydanticCustomError("string_control", "must not contain control characters other than tab and newline")
    return text


def _visible(text: str) -> str:
    if text and is_invisible(text):
        raise PydanticCustomError("string_invisible", "must contain at least one visible character")
    return _plain(text)


def _composed(value: Any) -> Any:
    return nfc(value) if isinstance(value, str) and len(value) <= MAX_COMPOSED_LENGTH else value


def _distinct(values: list[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def _date_only(value: Any) -> Any:
    if isinstance(value, str) and _DATE.fullmatch(value):
        return value
    raise PydanticCustomError("date_format", "must be a date in the format YYYY-MM-DD")


def _instant(value: Any) -> datetime:
    if isinstance(value, str):
        with suppress(ValueError):
            return parse_rfc3339(value)
        if has_no_such_day(value):
            raise PydanticCustomError("datetime_format", "There is no such day")
    raise PydanticCustomError("datetime_format", "must be a time in the format of RFC 3339, such as 2027-01-31T09:15:00Z")


def _flag(value: Any) -> Any:
    if value not in ("true", "false"):
        raise PydanticCustomError("bool_parsing", "must be true or false")
    return value == "true"


def _time_zone(name: str) -> str:
    with suppress(ZoneInfoNotFoundError, ValueError, OSError):  # it looks the name up as that of a file
        return ZoneInfo(name).key
    raise PydanticCustomError("unknown_time_zone", "must be a time zone of the IANA database, such as Europe/Berlin")


def in_words(message: LiteralString) -> WrapValidator:
    """Says in words what the pattern before it demands, for those who do not read patterns."""

    def check(value: Any, accept: ValidatorFunctionWrapHandler) -> Any:
        try:
            return accept(value)
        except ValidationError as error:
            if error.errors(include_input=False)[0]["type"] != "string_pattern_mismatch":
                raise
        raise PydanticCustomError("string_pattern_mismatch", message)

    return WrapValidator(check)


def object_id(text: Any) -> ObjectId | None:
    """``text``, 24 hexadecimal digits, as an ObjectId; None if it is anything else."""
    return ObjectId(text) if isinstance(text, str) and ObjectId.is_valid(text) else None


@dataclass(frozen=True, slots=True)
class TextRule(AfterValidator):
    """A rule for text, and the pattern (PCRE) of what MongoDB refuses because of it.

    The pattern allows what earlier versions stored, because a task can be reverted to it.
    """

    refused: str


Storable = TextRule(_storable, _NUL)
"""Refuses what MongoDB's own tools cannot hold in text. Lone surrogates are refused by Pydantic."""

Plain = TextRule(_plain, _NUL)
"""Storable, and without control characters other than tab, line feed and carriage return."""

Visible = TextRule(_visible, _NUL)
"""Plain, and unless it is empty, not all blanks, fillers and other characters that show nothing."""

Composed = BeforeValidator(_composed)
"""In Unicode NFC before any other rule: lengths count that form. It stands last, for the last of these is the first to run."""

Trimmed = StringConstraints(strip_whitespace=True)

Distinct = AfterValidator(_distinct)
"""Leaves out of a list what it contains already."""

Secret = Annotated[str, Field(max_length=1000, json_schema_extra={"format": "password"}), Storable]
"""A password, code or token that a caller sends."""

QueryBool = Annotated[bool, BeforeValidator(_flag)]
"""True or false in a query string."""

Id = Annotated[
    str,
    Field(min_length=24, max_length=24),
    BeforeValidator(str),
    WithJsonSchema({"type": "string", "pattern": "^[0-9a-f]{24}$", "examples": [OBJECT_ID_EXAMPLE]}),
]
"""An ObjectId as 24 hexadecimal digits."""

ObjectIdIn = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-fA-F]{24}$", to_lower=True),
    in_words("must be 24 hexadecimal digits"),
    Field(json_schema_extra={"examples": [OBJECT_ID_EXAMPLE]}),
]
"""An ObjectId that a caller sends as 24 hexadecimal digits."""

UTCDateTime = Annotated[
    datetime,
    Strict(),
    PlainSerializer(rfc3339, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2027-01-31T09:15:00.123Z"]}),
]
"""A UTC time in RFC 3339, with milliseconds."""

SentMoment = Annotated[
    datetime,
    Strict(),
    BeforeValidator(_instant),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2027-01-31T09:15:00Z"]}),
]
"""A time that a caller sends in RFC 3339, as UTC."""

_DAY_SCHEMA = WithJsonSchema({"type": "string", "format": "date", "examples": ["2027-01-31"]})

CalendarDate = Annotated[date, BeforeValidator(_date_only), _DAY_SCHEMA]
"""A calendar date that a caller sends, ``YYYY-MM-DD``."""

TimeZone = Annotated[
    str,
    Field(
        max_length=64,
        description="The IANA time zone that decides which day is today; default UTC.",
        examples=["Europe/Berlin"],
    ),
    AfterValidator(_time_zone),
]
"""A time zone by its name in the IANA database."""

StoredDay = Annotated[date, _DAY_SCHEMA]
"""A calendar date that MongoDB keeps, as the first instant of the day in UTC."""


def absent() -> Any:
    """The default of a field that may be left out but not sent as null."""
    return None


def empty(kind: type[list[Any] | dict[str, Any]]) -> Any:
    """A field that is empty by default. Pydantic copies plain defaults, which takes half of the time to validate a short task."""
    return Field(default_factory=kind, json_schema_extra={"default": kind()})


def omittable(**rules: Any) -> Any:
    """A field that a change may leave out. The schema shows no default, and null does not mean that it is left out."""
    return Field(default_factory=absent, **rules)


class ReadModel(BaseModel):
    """The base of response schemas. All members are required in the JSON Schema, because defaults are sent too."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


@dataclass(frozen=True, slots=True)
class DescribedAs:
    """An annotation that shows another type in the JSON Schema, for values that are validated later and one by one."""

    type: Any

    def __get_pydantic_json_schema__(self, _: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The JSON Schema of the other type."""
        return handler(TypeAdapter(self.type).core_schema)
