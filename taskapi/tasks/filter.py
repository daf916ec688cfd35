"""The filter language of callers: MongoDB's, over the public fields of a task, with an allow-list of operators.

Each value of the caller becomes the operand of an operator, so that MongoDB can take none for an operator itself. What a
filter compiles to does not say whose tasks: the query puts ``owner.id`` first and the filter into its ``$and``, where it
can only narrow.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, NoReturn

import bson
from bson import ObjectId
from pydantic import AfterValidator, Field, StrictBool, StrictInt, StrictStr, TypeAdapter, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from taskapi.clock import midnight
from taskapi.database import BSON
from taskapi.errors import LONGEST_FIELD, MOST_FAULTS, WORDS, Fault, InvalidInput
from taskapi.fields import Day, IdSent, SentMoment, Storable
from taskapi.tasks.catalog import Kind, PublicField, field, free
from taskapi.tasks.metadata import LARGEST_INTEGER, SMALLEST_INTEGER
from taskapi.tasks.schemas import Link, Status

LONGEST_TEXT = 2000  # characters of a filter in a query string
LARGEST_BYTES = 64 * 1024  # of what a filter compiles to, as BSON
DEEPEST = 6  # levels of documents within each other, and of a value
MOST_CONDITIONS = 50
MOST_MEMBERS = 100  # of any list

LOGICAL = frozenset({"$and", "$or", "$nor"})
EQUALITY = frozenset({"$eq", "$ne"})
ORDER = frozenset({"$gt", "$gte", "$lt", "$lte"})
MEMBERSHIP = frozenset({"$in", "$nin", "$all"})
ANY = frozenset({"$exists", "$not"})
LISTS = frozenset({"$size", "$elemMatch"})
OPERATORS = EQUALITY | ORDER | MEMBERSHIP | ANY | LISTS  # of a field

NO_FIELD = ("unknown_field", WORDS["extra_forbidden"])
EXAMPLE = {"status": {"$ne": "done"}, "$or": [{"priority": {"$gte": 4}}, {"metadata.project": "Apollo"}]}

WhereText = Annotated[
    str,
    Field(max_length=LONGEST_TEXT),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": LONGEST_TEXT,
            "contentMediaType": "application/json",
            "examples": [json.dumps(EXAMPLE)],
            "description": "A filter as JSON, in the manner of MongoDB.",
        }
    ),
]
"""A filter in a query string, for ``parsed``."""

WhereDocument = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": True,
            "examples": [EXAMPLE],
            "description": "A filter in the manner of MongoDB: public fields by name, dotted into `metadata`, `checklist` and "
            f"`owner`; the operators {', '.join(f'`{name}`' for name in sorted(OPERATORS | LOGICAL))}.",
        }
    ),
]
"""A filter in a body, for ``compiled``."""

_Names = Callable[[str], PublicField | None]

_Integer = Annotated[StrictInt, Field(ge=SMALLEST_INTEGER, le=LARGEST_INTEGER)]
_TYPES: Mapping[Kind, TypeAdapter[Any]] = {
    Kind.text: TypeAdapter(Annotated[StrictStr, Storable]),
    Kind.tag: TypeAdapter(Annotated[StrictStr, Storable, AfterValidator(lambda tag: tag.strip().lower())]),
    Kind.link: TypeAdapter(Link),  # a link is stored in its normal form
    Kind.status: TypeAdapter(Status),
    Kind.flag: TypeAdapter(StrictBool),
    Kind.integer: TypeAdapter(_Integer),
    Kind.number: TypeAdapter(Annotated[float, Field(strict=True, allow_inf_nan=False)]),
    Kind.day: TypeAdapter(Annotated[Day, AfterValidator(midnight)]),
    Kind.moment: TypeAdapter(SentMoment),
    Kind.identity: TypeAdapter(Annotated[IdSent, AfterValidator(ObjectId)]),
}
_SIZE = TypeAdapter(Annotated[StrictInt, Field(ge=0, le=2**31 - 1)])


def parsed(text: str) -> Any:
    """The JSON of a filter in a query string. Raises InvalidInput, also for a name that an object holds twice."""
    if len(text) > LONGEST_TEXT:
        raise _invalid("where", "string_too_long", f"should have at most {LONGEST_TEXT} characters")
    try:
        return json.loads(text, parse_constant=_refuse, object_pairs_hook=_members)
    except PydanticCustomError as error:
        raise _invalid("where", error.type, error.message()) from None
    except (ValueError, RecursionError):
        raise _invalid("where", "json_invalid", "must be valid JSON") from None


def compiled(where: Any) -> BSON:
    """The MongoDB filter that a caller's filter means; ``{}`` for every task.

    Raises:
        InvalidInput: names the path of each fault, as in ``where.$or.1.priority.$gt``.
    """
    compiler = _Compiler()
    result = compiler.document(where, "where", field, 1)
    if compiler.faults:
        raise InvalidInput(compiler.faults)
    if len(bson.encode(result)) > LARGEST_BYTES:
        raise _invalid("where", "filter_size", "should take at most 64 KiB")
    return result


def _refuse(_: str) -> NoReturn:
    raise ValueError


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise PydanticCustomError("repeated_name", "should not hold a name twice in one object")
    return members


def _fault(at: str, kind: str, message: str) -> Fault:
    return Fault(at[:LONGEST_FIELD], message, kind)


def _invalid(at: str, kind: str, message: str) -> InvalidInput:
    return InvalidInput([_fault(at, kind, message)])


class _Compiler:
    """One compilation: it goes on after a fault, to name them all, but never past a limit."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.conditions = 0

    def wrong(self, at: str, kind: str, message: str) -> None:
        """Notes a fault; what is compiled after it is not used."""
        self.faults.append(_fault(at, kind, message))
        if len(self.faults) == MOST_FAULTS:
            raise InvalidInput(self.faults)

    def document(self, given: Any, at: str, names: _Names, depth: int) -> BSON:
        """Conditions on fields, and ``$and``, ``$or`` and ``$nor`` of documents."""
        if not self._is_object(given, at, depth):
            return {}
        result: BSON = {}
        for name, operand in given.items():
            here = f"{at}.{name}"
            if name in LOGICAL:
                result[name] = self._branches(operand, here, names, depth)
            elif name.startswith("$"):
                self._no_operator(name, here, "stands after the name of a field")
            elif (known := names(name)) is None:
                self.wrong(here, *NO_FIELD)
            else:
                result[known.stored] = self.condition(known, operand, here, depth)
        return result

    def _branches(self, given: Any, at: str, names: _Names, depth: int) -> list[BSON]:
        branches = []
        for here, member in self._list(given, at):
            if member == {}:
                self.wrong(here, "empty", "should hold a condition")
            branches.append(self.document(member, here, names, depth + 1))
        if not branches:
            self.wrong(at, "empty", "should be a list of documents, at least one")
        return branches

    def condition(self, known: PublicField, given: Any, at: str, depth: int) -> BSON:
        """What is asked of one field: operators, or a value that it has to equal."""
        if isinstance(given, dict) and (known.kind not in (Kind.json, Kind.metadata) or any(n.startswith("$") for n in given)):
            return self.operators(known, given, at, depth)
        return {"$eq": self.operand(known, "$eq", given, at, depth)}

    def operators(self, known: PublicField, given: Any, at: str, depth: int) -> BSON:
        """A document of operators, at least one."""
        if not self._is_object(given, at, depth):
            return {}
        if not given:
            self.wrong(at, "empty", "should hold an operator")
        return {name: self.operand(known, name, value, f"{at}.{name}", depth) for name, value in given.items()}

    def operand(self, known: PublicField, operator: str, given: Any, at: str, depth: int) -> Any:
        """The operand of an operator, as the field's type has it."""
        self.conditions += 1
        if self.conditions > MOST_CONDITIONS:
            raise _invalid("where", "too_many_conditions", f"should hold at most {MOST_CONDITIONS} conditions")
        if operator not in _operators_of(known):
            self._no_operator(operator, at, "does not apply to this field")
            return None
        if operator == "$exists":
            return self._converted(_TYPES[Kind.flag], given, at)
        if operator == "$size":
            return self._converted(_SIZE, given, at)
        if operator == "$not":
            return self.operators(known, given, at, depth + 1)
        if operator == "$elemMatch":
            return self._element(known, given, at, depth + 1)
        if operator in MEMBERSHIP:
            return [self._value(known, member, here) for here, member in self._list(given, at)]
        if operator in EQUALITY and known.listed and isinstance(given, list):
            return [self._value(known, member, here) for here, member in self._list(given, at)]
        return self._value(known, given, at, ordered=operator in ORDER)

    def _element(self, known: PublicField, given: Any, at: str, depth: int) -> BSON:
        """What has to hold for one element of a list: operators, or the conditions of a document."""
        if not self._is_object(given, at, depth):
            return {}
        if not given:
            self.wrong(at, "empty", "should hold a condition")
        if known.kind is Kind.members:
            return self.document(given, at, lambda name: _member(known, name), depth)
        if known.kind is Kind.json and not OPERATORS.intersection(given):
            return self.document(given, at, free, depth)
        return self.operators(known._replace(listed=False), given, at, depth)

    def _value(self, known: PublicField, given: Any, at: str, *, ordered: bool = False) -> Any:
        if given is None and known.nullable and not ordered:
            return None
        if known.kind is Kind.metadata and not isinstance(given, dict):
            return self.wrong(at, "dict_type", "should be an object")
        if known.kind not in (Kind.json, Kind.metadata):
            return self._converted(_TYPES[known.kind], given, at)
        if ordered and (given is None or isinstance(given, dict | list)):
            return self.wrong(at, "not_ordered", "should be a text, a number or a boolean")
        return self._json(given, at, 1)

    def _json(self, given: Any, at: str, depth: int) -> Any:
        """Any JSON, when metadata could hold it."""
        if isinstance(given, dict):
            if not self._is_object(given, at, depth):
                return None
            result = {}
            for name, value in given.items():
                if name.startswith("$"):
                    self.wrong(f"{at}.{name}", "metadata_key", "should have no key that starts with a dollar sign")
                elif "\x00" in name or not _is_unicode(name):
                    self.wrong(at, "metadata_key", "should have no key with the NUL character or a lone surrogate")
                result[name] = self._json(value, f"{at}.{name}", depth + 1)
            return result
        if isinstance(given, list):
            return [self._json(member, here, depth + 1) for here, member in self._list(given, at, depth)]
        if isinstance(given, str):
            return given if _is_unicode(given) else self.wrong(at, "string_unicode", "should be valid Unicode")
        if given is None or isinstance(given, bool):
            return given
        return self._converted(_TYPES[Kind.integer if isinstance(given, int) else Kind.number], given, at)

    def _converted(self, type_: TypeAdapter[Any], given: Any, at: str) -> Any:
        try:
            return type_.validate_python(given)
        except ValidationError as error:
            for found in error.errors(include_input=False, include_url=False):
                self.wrong(at, found["type"], found["msg"])

    def _is_object(self, given: Any, at: str, depth: int) -> bool:
        if depth > DEEPEST:
            raise _invalid(at, "too_deep", f"should be nested at most {DEEPEST} levels deep")
        if not isinstance(given, dict):
            self.wrong(at, "dict_type", "should be an object")
        return isinstance(given, dict)

    def _list(self, given: Any, at: str, depth: int = 1) -> Iterator[tuple[str, Any]]:
        """The members of a list, each with its place."""
        if depth > DEEPEST:
            raise _invalid(at, "too_deep", f"should be nested at most {DEEPEST} levels deep")
        if not isinstance(given, list):
            self.wrong(at, "list_type", "should be a list")
        elif len(given) > MOST_MEMBERS:
            self.wrong(at, "too_long", f"should have at most {MOST_MEMBERS} members")
        else:
            yield from ((f"{at}.{index}", member) for index, member in enumerate(given))

    def _no_operator(self, name: str, at: str, misplaced: str) -> None:
        known = name in OPERATORS | LOGICAL
        self.wrong(at, "misplaced_operator" if known else "unknown_operator", misplaced if known else "There is no such operator")


def _operators_of(known: PublicField) -> frozenset[str]:
    """The operators that a field takes."""
    values = {Kind.members: frozenset[str](), Kind.metadata: EQUALITY}.get(known.kind, EQUALITY | ORDER | MEMBERSHIP)
    return values | ANY | (LISTS if known.listed or known.kind is Kind.json else frozenset())


def _member(known: PublicField, name: str) -> PublicField | None:
    """A field of the objects that a list holds, by its name within them."""
    member = field(f"{known.stored}.{name}")
    return member and member._replace(stored=name)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
