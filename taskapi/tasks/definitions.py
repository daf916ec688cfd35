"""What the definition of a task's field says besides its type. The fields are defined in ``schemas.TaskRead``."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from pydantic import GetCoreSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


class Kind(Enum):
    """The type of a field's value, or of each member if the field is a list."""

    text = auto()
    tag = auto()  # text, trimmed and in lower case
    link = auto()  # text: a web address
    status = auto()
    flag = auto()
    integer = auto()
    number = auto()
    day = auto()  # midnight UTC of the day
    moment = auto()
    object_id = auto()  # an ObjectId
    members = auto()  # an object whose members are fields of their own
    metadata = auto()  # the whole object
    json = auto()  # whatever callers keep below `metadata`


@dataclass(frozen=True, slots=True)
class TaskField:
    """The kind of a field, which decides how it is filtered, stored and written in CSV, and whether lists can be sorted by it."""

    kind: Kind
    sortable: bool = False


@dataclass(frozen=True, slots=True)
class NotAfter:
    """The rule that a field must not be after ``other``, a field declared before it, if both have a value.

    It checks fields that are sent together; ``storage.rules`` checks them against stored ones.
    """

    other: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The schema of the value, followed by the rule."""
        return core_schema.with_info_after_validator_function(self._check, handler(source))

    def _check(self, value: Any, info: ValidationInfo) -> Any:
        other = info.data.get(self.other)
        if value is not None and other is not None and value > other:
            raise PydanticCustomError("wrong_order", f"must not be after {self.other}")
        return value
