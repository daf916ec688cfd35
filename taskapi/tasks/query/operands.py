"""Converts the values in a filter to the types of their fields, and notes a fault with its path for each that does not fit."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from bson import ObjectId
from pydantic import AfterValidator, Field, StrictBool, StrictInt, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from taskapi.core.clock import midnight
from taskapi.core.errors import MAX_FAULTS, MAX_FIELD_LENGTH, FieldError, InvalidInput, field_errors
from taskapi.core.fields import CalendarDate, ObjectIdIn, SentMoment, Storable
from taskapi.db.integers import INT32_MAX, INT64_MAX, INT64_MIN
from taskapi.tasks.definitions import Kind
from taskapi.tasks.fields import PublicField
from taskapi.tasks.metadata import is_unicode
from taskapi.tasks.schemas import Link, Status

MAX_DEPTH = 6  # levels of nested documents, and of a value
MAX_MEMBERS = 100  # of any list


def _unicode(text: str) -> str:
    if not is_unicode(text):  # Pydantic checks this only where a length is limited
        raise PydanticCustomError("string_unicode", "should be valid Unicode")
    return text


_Text = Annotated[str, AfterValidator(_unicode), Storable]
TYPES: Mapping[Kind, TypeAdapter[Any]] = {
    Kind.text: TypeAdapter(_Text),
    Kind.tag: TypeAdapter(Annotated[_Text, AfterValidator(lambda tag: tag.strip().lower())]),
    Kind.link: TypeAdapter(Link),  # a link is stored in its normal form
    Kind.status: TypeAdapter(Status),
    Kind.flag: TypeAdapter(StrictBool),
    Kind.integer: TypeAdapter(Annotated[StrictInt, Field(ge=INT64_MIN, le=INT64_MAX)]),
    Kind.number: TypeAdapter(Annotated[float, Field(strict=True, allow_inf_nan=False)]),
    Kind.day: TypeAdapter(Annotated[CalendarDate, AfterValidator(midnight)]),
    Kind.moment: TypeAdapter(SentMoment),
    Kind.object_id: TypeAdapter(Annotated[ObjectIdIn, AfterValidator(ObjectId)]),
}
SIZE = TypeAdapter(Annotated[StrictInt, Field(ge=0, le=INT32_MAX)])


def invalid(at: str, kind: str, message: str) -> InvalidInput:
    """The error with a single fault, for a filter that cannot be read any further."""
    return InvalidInput([FieldError(at[:MAX_FIELD_LENGTH], message, kind)])


class Faults(list[FieldError]):
    """The faults of one filter. Reading continues after each, so that all are reported; the result is then discarded."""

    def note(self, at: str, kind: str, message: str) -> None:
        """Adds a fault at the path ``at``. Raises InvalidInput when there are too many."""
        self.append(FieldError(at[:MAX_FIELD_LENGTH], message, kind))
        if len(self) == MAX_FAULTS:
            raise InvalidInput(self)

    def is_object(self, given: Any, at: str, depth: int) -> bool:
        """Whether the value is an object; if not, notes a fault. Raises InvalidInput when it is nested too deeply."""
        _check_depth(at, depth)
        if not isinstance(given, dict):
            self.note(at, "dict_type", "should be an object")
        return isinstance(given, dict)

    def members(self, given: Any, at: str, depth: int = 1) -> Iterator[tuple[str, Any]]:
        """The members of a list with their paths. Notes a fault and yields nothing when it is not a list, or too long."""
        _check_depth(at, depth)
        if not isinstance(given, list):
            self.note(at, "list_type", "should be a list")
        elif len(given) > MAX_MEMBERS:
            self.note(at, "too_long", f"should have at most {MAX_MEMBERS} members")
        else:
            yield from ((f"{at}.{index}", member) for index, member in enumerate(given))

    def convert(self, kind: TypeAdapter[Any], given: Any, at: str) -> Any:
        """Converts a value to a type; notes its faults if it does not fit."""
        try:
            return kind.validate_python(given)
        except ValidationError as error:
            for found in field_errors(error):
                self.note(at, found.type, found.message)

    def value(self, known: PublicField, given: Any, at: str, *, ordered: bool = False) -> Any:
        """Converts a value that is compared with the field's; ``ordered`` if the operator asks which one is larger."""
        if given is None and known.nullable and not ordered:
            return None
        if known.kind in TYPES:
            return self.convert(TYPES[known.kind], given, at)
        if known.kind is Kind.metadata and not self.is_object(given, at, 1):
            return None
        if ordered and (given is None or isinstance(given, dict | list)):
            return self.note(at, "not_ordered", "should be a string, a number or a boolean")
        return self._json(given, at, 1)

    def _json(self, given: Any, at: str, depth: int) -> Any:
        """Checks any JSON value that metadata can contain."""
        if isinstance(given, dict):
            _check_depth(at, depth)
            return {name: self._json(value, self._key(name, at), depth + 1) for name, value in given.items()}
        if isinstance(given, list):
            return [self._json(member, here, depth + 1) for here, member in self.members(given, at, depth)]
        if given is None or isinstance(given, bool):
            return given
        if isinstance(given, str):
            return given if is_unicode(given) else self.note(at, "string_unicode", "should be valid Unicode")
        return self.convert(TYPES[Kind.integer if isinstance(given, int) else Kind.number], given, at)

    def _key(self, name: str, at: str) -> str:
        here = f"{at}.{name}"
        if name.startswith("$"):
            self.note(here, "metadata_key", "should not start with a dollar sign")
        elif "\x00" in name:
            self.note(here, "metadata_key", "should not contain the NUL character")
        elif not is_unicode(name):
            self.note(here, "metadata_key", "should be valid Unicode")
        return here


def _check_depth(at: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise invalid(at, "too_deep", f"should be nested at most {MAX_DEPTH} levels deep")
