"""Equality as callers mean it: of objects in any order of their members, of texts in either form of Unicode.

MongoDB compares the bytes. Where that could differ, the operators that ask for equality become conditions that cannot: all
the forms of a text, and for objects a ``$jsonSchema``, whose ``enum`` ignores the order of members.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import bson

from taskapi.core.unicode import nfc, spellings
from taskapi.db.connection import BSON
from taskapi.tasks.fields import is_index

MAX_ELEMENTS = 8192  # of an array in metadata, by its limit of bytes
EMPTY_BYTES = 8  # of an empty object in an array, as BSON
AFFIRMED = frozenset({"$eq", "$in", "$all"})
DENIED = frozenset({"$ne", "$nin"})
EQUALITIES = AFFIRMED | DENIED
OF_ONE = frozenset({"$eq", "$ne"})  # whose operand is a value, not a list of them


def size(path: str, value: Any) -> int:
    """About how many bytes it takes to say that the field at ``path`` equals ``value``, when that takes a schema; else 0."""
    if not _has_order(value):
        return 0
    total = 2 * len(bson.encode({"": value}))
    for name in path.removeprefix("metadata.").split(".")[:0:-1]:
        total = 2 * total if (place := _place(name)) is None else 3 * total + EMPTY_BYTES * place
    return total


def conditions(path: str, operators: BSON) -> BSON:
    """What ``operators`` say of the field at ``path``, as conditions of a document."""
    kept: BSON = {}
    others: list[BSON] = []
    for name, operand in operators.items():
        if name == "$not":
            denied = conditions(path, operand)
            if list(denied) == [path]:
                kept[name] = denied[path]
            else:
                others.append({"$nor": [denied]})
        elif name == "$elemMatch" and _is_of_values(operand):
            if operand.keys() <= EQUALITIES - {"$all"} and any(map(_has_order, operand.values())):
                every = [_schema_of(each, _values(each, asked)) for each, asked in operand.items()]
                others.append(_at(path, _some({"allOf": every})))
            else:
                kept[name] = _of_an_element(operand)
        elif name in EQUALITIES and _is_special(operand):
            given = [operand] if name in OF_ONE else operand
            groups = [[value] for value in given] if name == "$all" else [given]
            found = [_equals_one(path, [form for value in group for form in forms(value)]) for group in groups]
            others += [{"$nor": found}] if name in DENIED else found
        else:
            kept[name] = operand
    return {**({path: kept} if kept or not others else {}), **({"$and": others} if others else {})}


def _is_of_values(operand: BSON) -> bool:
    return all(name.startswith("$") and name not in ("$and", "$or", "$nor") for name in operand)


def _of_an_element(operators: BSON) -> BSON:
    """The same of one element of an array, to which no other conditions can be added: the forms of texts alone."""
    result: BSON = {}
    for name, operand in operators.items():
        if name == "$not":
            result[name] = _of_an_element(operand)
        elif name in OF_ONE and len(found := forms(operand)) > 1:
            several = "$in" if name == "$eq" else "$nin"
            others = operators.get(several)
            if others is None:
                result[several] = found
            else:
                result[several] = (
                    [form for form in found if form in _values(several, others)] if name == "$eq" else found + others
                )
        elif name in ("$in", "$nin"):
            result.setdefault(name, _values(name, operand))
        else:
            result[name] = operand
    return result


def _values(name: str, operand: Any) -> list[Any]:
    return [form for value in ([operand] if name in OF_ONE else operand) for form in forms(value)]


def _is_special(operand: Any) -> bool:
    return _has_order(operand) or len(forms(operand)) > 1


def _has_order(value: Any) -> bool:
    """Whether there is an object in it whose members could stand in another order."""
    if isinstance(value, dict):
        return len(value) > 1 or any(map(_has_order, value.values()))
    return isinstance(value, list) and any(map(_has_order, value))


def forms(value: Any) -> list[Any]:
    """The value, and with its texts in the other forms of Unicode: composed (NFC) and decomposed (NFD)."""
    if isinstance(value, str):
        return spellings(value)
    others = [_spell(value, nfc), _spell(value, _decompose)] if isinstance(value, dict | list) else []
    return [value, *(other for other in others if other != value)]


def _spell(value: Any, spell: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return spell(value)
    if isinstance(value, dict):
        return {name: _spell(member, spell) for name, member in value.items()}
    return [_spell(member, spell) for member in value] if isinstance(value, list) else value


def _decompose(text: str) -> str:
    return spellings(text)[:2][-1]


def _equals_one(path: str, values: Sequence[Any]) -> BSON:
    """That the field at ``path``, or an element of the array that it is, equals one of ``values``."""
    plain = [value for value in values if not _has_order(value)]
    objects = [value for value in values if _has_order(value)]
    ways: list[BSON] = [{path: {"$in": plain}}] if plain else []
    if objects:
        schema = {"enum": _distinct(objects)}
        ways.append(_at(path, {"anyOf": [schema, _some(schema)]}))
    return ways[0] if len(ways) == 1 else {"$or": ways}


def _schema_of(name: str, values: list[Any]) -> BSON:
    schema: BSON = {"enum": _distinct(values)} if values else {"not": {}}  # MongoDB refuses an empty enum
    return {"not": schema} if name in DENIED else schema


def _distinct(values: Iterable[Any]) -> list[Any]:
    """The values, each once: MongoDB refuses an ``enum`` with two that are equal to it."""
    return list({_key(value): value for value in values}.values())


def _key(value: Any) -> Any:
    if isinstance(value, dict):
        return frozenset((name, _key(member)) for name, member in value.items())
    if isinstance(value, list):
        return tuple(map(_key, value))
    return (isinstance(value, bool), value)


def _some(schema: BSON) -> BSON:
    """An array with an element of that schema."""
    return {"bsonType": "array", "not": {"items": {"not": schema}}}


def _at(path: str, schema: BSON) -> BSON:
    """That what is at ``path`` is of that schema, or of one of the elements on the way: as MongoDB follows a path."""
    first, *names = path.split(".")
    if first == "metadata" and names:  # which is no array
        return {"$jsonSchema": _member(first, _member(names[0], _path_schema(names[1:], schema)))}
    return {"$jsonSchema": _member(first, _path_schema(names, schema))}


def _path_schema(names: Sequence[str], schema: BSON) -> BSON:
    if not names:
        return schema
    inner = _path_schema(names[1:], schema)
    member = _member(names[0], inner)
    ways = [member, _some(member)]
    if (place := _place(names[0])) is not None:
        ways.append({"bsonType": "array", "minItems": place + 1, "items": [*[{}] * place, inner]})
    return {"anyOf": ways}


def _place(name: str) -> int | None:
    """The place in an array that a name within a path may stand for."""
    return place if is_index(name) and (place := int(name[:5])) < MAX_ELEMENTS else None


def _member(name: str, schema: BSON) -> BSON:
    """An object with a member of that name and schema. With ``required``, MongoDB 6.0 fails to plan beside a text index."""
    return {"bsonType": "object", "not": {"properties": {name: {"not": schema}}}}
