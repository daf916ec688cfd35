"""What the definition of a task's field says besides its type: see ``schemas.TaskRead``, where each field is defined."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from pydantic import GetCoreSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


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
    object_id = auto()  # an ObjectId
    members = auto()  # an object whose members are fields of their own
    metadata = auto()  # the whole object
    json = auto()  # whatever callers keep below `metadata`


@dataclass(frozen=True, slots=True)
class TaskField:
    """How a field is filtered and stored (by its kind), written in CSV, and whether lists can be sorted by it."""

    kind: Kind
    sortable: bool = False


@dataclass(frozen=True, slots=True)
class NotAfter:
    """The rule that a field is not after ``other``, a field declared before it, when both have a value.

    It checks what is sent together; ``storage.rules`` checks what is sent against what is stored.
    """

    other: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The schema of the value, and the rule after it."""
        return core_schema.with_info_after_validator_function(self._check, handler(source))

    def _check(self, value: Any, info: ValidationInfo) -> Any:
        other = info.data.get(self.other)
        if value is not None and other is not None and value > other:
            raise PydanticCustomError("wrong_order", f"must not be after {self.other}")
        return value
