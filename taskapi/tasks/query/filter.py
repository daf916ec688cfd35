"""Compiles callers' filters: MongoDB's query language over the public fields of a task, with an allow-list of operators.

Every value a caller sends becomes the operand of an operator, so MongoDB never reads it as an operator itself. A compiled
filter does not select an owner: the query starts with ``owner_id`` and adds the filter to its ``$and``, where it can only
narrow the result.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Annotated, Any

import bson
from pydantic import AfterValidator, Field, WithJsonSchema

from taskapi.core.errors import MESSAGES, InvalidInput
from taskapi.core.strict_json import RepeatedMember, no_constant, unique_members
from taskapi.db.connection import BSON
from taskapi.tasks.definitions import Kind
from taskapi.tasks.fields import PublicField, field, free
from taskapi.tasks.query import equality
from taskapi.tasks.query.operands import MAX_DEPTH, MAX_MEMBERS, SIZE, TYPES, Faults, invalid

MAX_TEXT_LENGTH = 2000  # characters of a filter in a query string
MAX_BYTES = 64 * 1024  # of a filter as JSON, and of what it compiles to as BSON
MAX_CONDITIONS = 50

LOGICAL = frozenset({"$and", "$or", "$nor"})
EQUALITY = frozenset({"$eq", "$ne"})
ORDER = frozenset({"$gt", "$gte", "$lt", "$lte"})
MEMBERSHIP = frozenset({"$in", "$nin", "$all"})
ANY = frozenset({"$exists", "$not"})
LISTS = frozenset({"$size", "$elemMatch"})
OPERATORS = EQUALITY | ORDER | MEMBERSHIP | ANY | LISTS  # of a field

NO_FIELD = ("unknown_field", MESSAGES["extra_forbidden"])
EXAMPLE: dict[str, Any] = {"status": {"$ne": "done"}, "$or": [{"priority": {"$gte": 4}}, {"metadata.project": "Apollo"}]}

WhereText = Annotated[
    str,
    Field(max_length=MAX_TEXT_LENGTH),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": MAX_TEXT_LENGTH,
            "examples": [json.dumps(EXAMPLE)],
            "description": "A filter as JSON, in the style of MongoDB, like `where` in `POST /tasks/search`.",
        }
    ),
]
"""A filter in a query string, for ``parse_where``."""


def _check(where: BSON) -> BSON:
    with suppress(RecursionError):  # the compiler reports what is too deep
        if len(json.dumps(where)) > MAX_BYTES:  # before any other work
            raise _too_large()
    compile_where(where)  # refuses depth and lone surrogates, which later code may not survive
    return where


def _too_many() -> InvalidInput:
    return invalid("where", "too_many_conditions", f"should contain at most {MAX_CONDITIONS} conditions")


def _too_large() -> InvalidInput:
    return invalid("where", "filter_size", "should be at most 64 KiB")


WhereDocument = Annotated[
    dict[str, Any],
    AfterValidator(_check),
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": True,
            "examples": [EXAMPLE],
            "description": "A filter in the style of MongoDB. It names public fields, with dotted paths into `metadata`, "
            f"`checklist` and `owner`. Operators: {', '.join(f'`{name}`' for name in sorted(OPERATORS | LOGICAL))}.",
        }
    ),
]
"""A filter in a request body, which ``compile_where`` is known to accept. Raises InvalidInput."""

_Names = Callable[[str], PublicField | None]


def parse_where(text: str) -> BSON:
    """Parses a filter in a query string.

    Raises:
        InvalidInput: the text is too long, is not a JSON object, or repeats a name within an object.
    """
    if len(text) > MAX_TEXT_LENGTH:
        raise invalid("where", "string_too_long", f"should have at most {MAX_TEXT_LENGTH} characters")
    try:
        where = json.loads(text.removeprefix("\ufeff"), parse_constant=no_constant, object_pairs_hook=unique_members)
    except RepeatedMember:
        raise invalid("where", "repeated_name", "should not contain a name twice in one object") from None
    except json.JSONDecodeError as error:
        raise invalid("where", "json_invalid", f"must be valid JSON: {error.msg} at character {error.pos}") from None
    except (ValueError, RecursionError):
        raise invalid("where", "json_invalid", "must be valid JSON") from None
    if not isinstance(where, dict):
        raise invalid("where", "dict_type", "should be an object")
    return where


def compile_where(where: Any) -> BSON:
    """Compiles a caller's filter to a MongoDB filter; ``{}`` matches every task.

    Raises:
        InvalidInput: lists the faults with their paths, such as ``where.$or.1.priority.$gt``.
    """
    if _count_conditions(where, 1) > MAX_CONDITIONS:  # before any operand is read: there may be thousands
        raise _too_many()
    compiler = _Compiler()
    result = compiler.document(where, "where", field, 1)
    if compiler.faults:
        raise InvalidInput(compiler.faults)
    if len(bson.encode(result)) > MAX_BYTES:
        raise _too_large()
    return result


def _count_conditions(given: Any, depth: int) -> int:
    """Counts the conditions on known fields. Those inside ``$not`` and ``$elemMatch`` are counted by the compiler."""
    if not isinstance(given, dict) or depth > MAX_DEPTH:
        return 0
    count = 0
    for name, operand in given.items():
        if name in LOGICAL:
            if isinstance(operand, list) and len(operand) <= MAX_MEMBERS:
                count += sum(_count_conditions(member, depth + 1) for member in operand)
        elif not name.startswith("$") and field(name):
            operators = isinstance(operand, dict) and any(each.startswith("$") for each in operand)
            count += len(operand) if operators else 1
    return count


class _Compiler:
    """Compiles one filter. It continues after a fault, so that all are reported, but stops at a limit."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.conditions = 0
        self.bytes = 0

    def document(self, given: Any, at: str, names: _Names, depth: int) -> BSON:
        """Compiles a document: conditions on fields, and ``$and``, ``$or`` and ``$nor`` of documents."""
        if not self.faults.is_object(given, at, depth):
            return {}
        result: BSON = {}
        others: list[BSON] = []
        for name, operand in given.items():
            here = f"{at}.{name}"
            if name in LOGICAL:
                result[name] = self._branches(operand, here, names, depth)
            elif name.startswith("$"):
                self._no_operator(name, here, "must come after the name of a field")
            elif (known := names(name)) is None:
                self.faults.note(here, *NO_FIELD)
            else:
                operators = self.condition(known, operand, here, depth)
                conditions = {} if self.faults else equality.conditions(known.stored, operators)
                others += conditions.pop("$and", [])
                result |= conditions
        return {**result, "$and": [*result.get("$and", []), *others]} if others else result

    def _branches(self, given: Any, at: str, names: _Names, depth: int) -> list[BSON]:
        branches = []
        for here, member in self.faults.members(given, at):
            if member == {}:
                self.faults.note(here, "empty", "should contain a condition")
            branches.append(self.document(member, here, names, depth + 1))
        if given == []:
            self.faults.note(at, "empty", "should be a list of at least one document")
        return branches

    def condition(self, known: PublicField, given: Any, at: str, depth: int) -> BSON:
        """Compiles the condition on one field: a document of operators, or a value that it must equal."""
        if isinstance(given, dict) and (known.kind not in (Kind.json, Kind.metadata) or any(n.startswith("$") for n in given)):
            return self.operators(known, given, at, depth)
        return {"$eq": self.operand(known, "$eq", given, at, depth)}

    def operators(self, known: PublicField, given: Any, at: str, depth: int) -> BSON:
        """Compiles a document of at least one operator."""
        if not self.faults.is_object(given, at, depth):
            return {}
        if not given:
            self.faults.note(at, "empty", "should contain an operator")
        return {name: self.operand(known, name, value, f"{at}.{name}", depth) for name, value in given.items()}

    def operand(self, known: PublicField, operator: str, given: Any, at: str, depth: int) -> Any:
        """Converts the operand of an operator to the type of the field."""
        self.conditions += 1
        if self.conditions > MAX_CONDITIONS:
            raise _too_many()
        if operator not in _operators_of(known):
            self._no_operator(operator, at, "does not apply to this field")
            return None
        if operator == "$exists":
            return self.faults.convert(TYPES[Kind.flag], given, at)
        if operator == "$size":
            return self.faults.convert(SIZE, given, at)
        if operator == "$not":
            return self.operators(known, given, at, depth + 1)
        if operator == "$elemMatch":
            return self._element(known, given, at, depth + 1)
        if operator in MEMBERSHIP or (operator in EQUALITY and known.listed and isinstance(given, list)):
            return [self._value(known, member, here) for here, member in self.faults.members(given, at)]
        return self._value(known, given, at, ordered=operator in ORDER)

    def _value(self, known: PublicField, given: Any, at: str, *, ordered: bool = False) -> Any:
        value = self.faults.value(known, given, at, ordered=ordered)
        self.bytes += equality.size(known.stored, value)
        if self.bytes > MAX_BYTES:  # before it is expanded into a schema
            raise _too_large()
        return value

    def _element(self, known: PublicField, given: Any, at: str, depth: int) -> BSON:
        """Compiles ``$elemMatch``: operators on a value, or conditions on the fields of an object."""
        if not self.faults.is_object(given, at, depth):
            return {}
        names: _Names
        if known.kind is Kind.members:
            names = partial(_member_field, known)
        elif known.kind is Kind.json and not OPERATORS.intersection(given):
            names = free
        else:
            return self.operators(known._replace(listed=False), given, at, depth)
        if not given:
            self.faults.note(at, "empty", "should contain a condition")
        return self.document(given, at, names, depth)

    def _no_operator(self, name: str, at: str, misplaced: str) -> None:
        known = name in OPERATORS | LOGICAL
        self.faults.note(
            at, "misplaced_operator" if known else "unknown_operator", misplaced if known else "There is no such operator"
        )


def _operators_of(known: PublicField) -> frozenset[str]:
    """The operators that a field supports."""
    values = {Kind.members: frozenset[str](), Kind.metadata: EQUALITY}.get(known.kind, EQUALITY | ORDER | MEMBERSHIP)
    return values | ANY | (LISTS if known.listed or known.kind is Kind.json else frozenset())


def _member_field(known: PublicField, name: str) -> PublicField | None:
    """A field of the objects in a list, by its name within an object."""
    member = field(f"{known.stored}.{name}")
    return member and member._replace(stored=name)
