"""Equality as callers mean it: objects match in any order of their members, texts in any Unicode form.

MongoDB compares bytes. Where that could give another result, the equality operators become conditions that compare by value:
every Unicode form of a text, and for objects a ``$jsonSchema``, whose ``enum`` ignores the order of members.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import bson

from taskapi.core.unicode import nfc, spellings
from taskapi.db.connection import BSON
from taskapi.tasks.fields import is_index

MAX_ELEMENTS = 8192  # of an array in metadata, which is limited to 16 KiB
EMPTY_BYTES = 8  # of an empty object in an array, as BSON
AFFIRMED = frozenset({"$eq", "$in", "$all"})
DENIED = frozenset({"$ne", "$nin"})
EQUALITIES = AFFIRMED | DENIED
OF_ONE = frozenset({"$eq", "$ne"})  # their operand is a single value, not a list


def size(path: str, value: Any) -> int:
    """Estimates the bytes of the schema that compares the field at ``path`` with ``value``; 0 if no schema is needed."""
    if not _has_order(value):
        return 0
    total = 2 * len(bson.encode({"": value}))
    for name in path.removeprefix("metadata.").split(".")[:0:-1]:
        total = 2 * total if (place := _array_index(name)) is None else 3 * total + EMPTY_BYTES * place
    return total


def conditions(path: str, operators: BSON) -> BSON:
    """Translates the operators on the field at ``path`` into the conditions of a document."""
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
                others.append(_at_path(path, _has_element({"allOf": every})))
            else:
                kept[name] = _element_operators(operand)
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


def _element_operators(operators: BSON) -> BSON:
    """Translates the operators on one element of an array, where only the Unicode forms of texts can be added."""
    result: BSON = {}
    for name, operand in operators.items():
        if name == "$not":
            result[name] = _element_operators(operand)
        elif name in OF_ONE and len(found := forms(operand)) > 1:
            several = "$in" if name == "$eq" else "$nin"
            others = operators.get(several)
            if others is None:
                result[several] = found
            else:
                listed = _values(several, others)
                result[several] = [form for form in found if form in listed] if name == "$eq" else found + listed
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
    """Whether the value contains an object of several members, which could be in another order."""
    if isinstance(value, dict):
        return len(value) > 1 or any(map(_has_order, value.values()))
    return isinstance(value, list) and any(map(_has_order, value))


def forms(value: Any) -> list[Any]:
    """The value as sent, then with its texts in the other Unicode forms: composed (NFC) and decomposed (NFD)."""
    if isinstance(value, str):
        return spellings(value)
    if _is_ascii(value):
        return [value]
    others = [_spell(value, nfc), _spell(value, _decompose)]
    return [value, *(other for other in others if other != value)]


def _is_ascii(value: Any) -> bool:
    """Whether all texts in the value are ASCII, which has one form; a filter can have thousands."""
    if isinstance(value, str):
        return value.isascii()
    return all(map(_is_ascii, value.values() if isinstance(value, dict) else value)) if isinstance(value, dict | list) else True


def _spell(value: Any, spell: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return spell(value)
    if isinstance(value, dict):
        return {name: _spell(member, spell) for name, member in value.items()}
    return [_spell(member, spell) for member in value] if isinstance(value, list) else value


def _decompose(text: str) -> str:
    return spellings(text)[:2][-1]


def _equals_one(path: str, values: Sequence[Any]) -> BSON:
    """The condition that the field at ``path``, or one of its elements if it is an array, equals one of ``values``."""
    plain = [value for value in values if not _has_order(value)]
    objects = [value for value in values if _has_order(value)]
    ways: list[BSON] = [{path: {"$in": plain}}] if plain else []
    if objects:
        schema = {"enum": _distinct(objects)}
        ways.append(_at_path(path, {"anyOf": [schema, _has_element(schema)]}))
    return ways[0] if len(ways) == 1 else {"$or": ways}


def _schema_of(name: str, values: list[Any]) -> BSON:
    schema: BSON = {"enum": _distinct(values)} if values else {"not": {}}  # MongoDB refuses an empty enum
    return {"not": schema} if name in DENIED else schema


def _distinct(values: Iterable[Any]) -> list[Any]:
    """The values without those that MongoDB considers equal: it refuses an ``enum`` that contains two equal values."""
    return list({_key(value): value for value in values}.values())


def _key(value: Any) -> Any:
    if isinstance(value, dict):
        return frozenset((name, _key(member)) for name, member in value.items())
    if isinstance(value, list):
        return tuple(map(_key, value))
    return (isinstance(value, bool), value)


def _has_element(schema: BSON) -> BSON:
    """The schema of an array with an element that matches ``schema``."""
    return {"bsonType": "array", "not": {"items": {"not": schema}}}


def _at_path(path: str, schema: BSON) -> BSON:
    """The condition that a value at ``path`` matches ``schema``. Like MongoDB, it looks into the arrays along the path."""
    first, *names = path.split(".")
    if first == "metadata" and names:  # metadata itself is never an array
        return {"$jsonSchema": _has_member(first, _has_member(names[0], _path_schema(names[1:], schema)))}
    return {"$jsonSchema": _has_member(first, _path_schema(names, schema))}


def _path_schema(names: Sequence[str], schema: BSON) -> BSON:
    """The schema of a value in which the path ``names`` leads to a value that matches ``schema``."""
    if not names:
        return schema
    inner = _path_schema(names[1:], schema)
    member = _has_member(names[0], inner)
    ways = [member, _has_element(member)]
    if (place := _array_index(names[0])) is not None:
        ways.append({"bsonType": "array", "minItems": place + 1, "items": [*[{}] * place, inner]})
    return {"anyOf": ways}


def _array_index(name: str) -> int | None:
    """The array index that a name in a path may stand for; None if it cannot be one."""
    return place if is_index(name) and (place := int(name[:5])) < MAX_ELEMENTS else None


def _has_member(name: str, schema: BSON) -> BSON:
    """The schema of an object whose member ``name`` matches. MongoDB 6.0 cannot plan ``required`` beside a text index."""
    return {"bsonType": "object", "not": {"properties": {name: {"not": schema}}}}
