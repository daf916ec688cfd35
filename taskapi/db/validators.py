"""Validators of collections, generated from the fields of their documents, so that no rule is written twice.

With a validator, MongoDB refuses, with code 121, what does not match it, whoever writes it. It is a JSON Schema with exact BSON
types, and the ``rules`` of the document's settings: conditions on several fields, in MongoDB's query language, each with a
``$comment`` for the page of the collection. The ``variants`` of the settings are models of what else the collection may hold.

While workers of an earlier version may still write, the *lenient* form applies: fields that they do not store (``Since``) may be
absent, and ``later_rules`` are left out.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, GroupedMetadata, Le, MaxLen, MinLen
from beanie import Document, PydanticObjectId
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from taskapi.core.fields import Distinct, TextRule
from taskapi.db.expressions import MAX_TIME, MIN_TIME
from taskapi.db.integers import INT32_MAX

BSON = dict[str, Any]

_TYPES: dict[Any, BSON] = {
    str: {"bsonType": "string"},
    bool: {"bsonType": "bool"},
    int: {"bsonType": ["int", "long"]},  # a counter becomes a long when it exceeds an int
    float: {"bsonType": "double", "minimum": -sys.float_info.max, "maximum": sys.float_info.max},  # so neither NaN nor infinite
    bytes: {"bsonType": "binData"},
    datetime: {"bsonType": "date"},
    PydanticObjectId: {"bsonType": "objectId"},
    Any: {},
}
_NOT_BLANK_AT_ENDS = (r"^\s", r"\s\z")


@dataclass(frozen=True, slots=True)
class Since:
    """Marks a field that versions before ``version`` do not store."""

    version: str


@dataclass(frozen=True, slots=True)
class BSONSchema:
    """Marks a field whose type says too little: ``schema`` is its JSON Schema for MongoDB."""

    schema: BSON


@dataclass(frozen=True, slots=True)
class Growing:
    """Marks a list of objects that becomes long, of which each write checks all.

    In the validator, they have a shorter form, which takes a third of the time: it refuses missing fields, wrong types and dates
    that Python cannot hold, but neither additional fields, nor other values out of range, nor a list that has a right value.
    """


def validator(document: type[Document], *, lenient: bool = False, thorough: bool = False) -> BSON:
    """The validator of a document's collection, as ``collMod`` accepts it. ``thorough`` ones have no shorter forms."""
    own, *variants = (
        _condition(model, rules, lenient=lenient, thorough=thorough) for model, rules in models_of(document, lenient=lenient)
    )
    return {"$or": [own, *variants]} if variants else own


def models_of(document: type[Document], *, lenient: bool) -> Iterator[tuple[type[BaseModel], Sequence[BSON]]]:
    """The models of a collection, each with the rules beside those of its fields; a document meets one of them."""
    rules = [*getattr(document.Settings, "rules", ()), *(() if lenient else getattr(document.Settings, "later_rules", ()))]
    yield document, rules
    for variant in getattr(document.Settings, "variants", ()):
        yield variant, ()


def json_schema(model: type[BaseModel], *, lenient: bool = False, is_whole: bool = True) -> BSON:
    """The JSON Schema of a document; with ``is_whole=False``, of an object within one."""
    properties, required = BSON(), list[str]()
    for name, info in model.model_fields.items():
        if name == "revision_id":  # Beanie's own, which is not stored
            continue
        is_id = name == "id" and is_whole
        stored = "_id" if is_id else name
        properties[stored] = {"bsonType": "objectId"} if is_id and info.default is None else _field(info, lenient=lenient)
        if is_id or (info.is_required() and not (lenient and any(isinstance(rule, Since) for rule in info.metadata))):
            required.append(stored)
    return {
        "bsonType": "object",
        **({"required": required} if required else {}),
        "additionalProperties": False,
        "properties": properties,
    }


def _condition(model: type[BaseModel], rules: Sequence[BSON], *, lenient: bool, thorough: bool) -> BSON:
    schema = json_schema(model, lenient=lenient)
    conditions = [*rules]
    for name, info in model.model_fields.items():
        if not thorough and any(isinstance(rule, Growing) for rule in info.metadata):
            conditions.append({name: {"$not": {"$elemMatch": {"$or": list(_faults(schema["properties"][name]["items"]))}}}})
            schema["properties"][name] = {**schema["properties"][name], "items": {"bsonType": "object"}}
    conditions += _in_time([*_dates(schema)])
    return {"$jsonSchema": schema, **({"$and": conditions} if conditions else {})}


def single_conditions(model: type[BaseModel], rules: Sequence[BSON], *, lenient: bool) -> Iterator[tuple[str, BSON]]:
    """What the validator demands, piece by piece: the field or the rule that each piece is about, and its condition."""
    schema = json_schema(model, lenient=lenient)
    for name, field in schema["properties"].items():
        yield name, {"$jsonSchema": {"properties": {name: field}, **({"required": [name]} if name in schema["required"] else {})}}
    names = dict.fromkeys(schema["properties"], BSON())
    yield "a field that is not known", {"$jsonSchema": {"properties": names, "additionalProperties": False}}
    for rule in rules:
        yield str(rule.get("$comment", "a rule between fields")).rstrip("."), rule
    yield "a date that is out of range", {"$and": [{}, *_in_time([*_dates(schema)])]}


def _faults(schema: BSON, prefix: str = "") -> Iterator[BSON]:
    """Conditions of which an object that does not have these fields matches one."""
    for name, field in schema["properties"].items():
        path = f"{prefix}{name}"
        if "properties" in field:
            yield from _faults(field, f"{path}.")
        elif "enum" in field:
            yield {path: {"$nin": field["enum"]}}
        elif field["bsonType"] == "date":
            yield {path: {"$not": {"$gte": MIN_TIME, "$lte": MAX_TIME}}}  # only dates are compared with dates
        else:
            yield {path: {"$not": {"$type": field["bsonType"]}}}


def _dates(schema: BSON, prefix: str = "", *, is_listed: bool = False) -> Iterator[tuple[str, bool]]:
    """The paths of all dates, and whether they are within lists: JSON Schema has no bounds for them."""
    for name, field in schema.get("properties", {}).items():
        if "date" in field.get("bsonType", ()):
            yield prefix + name, is_listed
        items = field.get("items")
        if isinstance(items, dict):
            yield from _dates(items, f"{prefix}{name}.", is_listed=True)
        else:
            yield from _dates(field, f"{prefix}{name}.", is_listed=is_listed)


def _in_time(dates: Sequence[tuple[str, bool]]) -> list[BSON]:
    """The conditions that Python can hold all dates. One expression takes less time than two conditions for each date."""
    single, listed = [f"${path}" for path, is_listed in dates if not is_listed], [path for path, is_listed in dates if is_listed]
    conditions: list[BSON] = []
    if single:
        earliest, latest = {"$min": [MIN_TIME, *single]}, {"$max": [MAX_TIME, *single]}
        conditions.append({"$expr": {"$and": [{"$eq": [earliest, MIN_TIME]}, {"$eq": [latest, MAX_TIME]}]}})
    if listed:
        conditions.append({"$nor": [{path: beyond} for path in listed for beyond in ({"$lt": MIN_TIME}, {"$gt": MAX_TIME})]})
    return conditions


def _field(info: FieldInfo, *, lenient: bool) -> BSON:
    return _schema(info.annotation, info.metadata, lenient=lenient)


def _schema(annotation: Any, metadata: Iterable[Any], *, lenient: bool) -> BSON:
    """The schema of the values that ``annotation`` and the rules in ``metadata`` allow."""
    rules = list(_flat(metadata))
    for rule in rules:
        if isinstance(rule, BSONSchema):
            return rule.schema
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _schema(arguments[0], [*arguments[1:], *rules], lenient=lenient)
    if origin in (Union, UnionType):
        (kind,) = (each for each in arguments if each is not NoneType)
        return _or_null(_schema(kind, rules, lenient=lenient))
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (list, tuple):
        return _list(origin, arguments, rules, lenient=lenient)
    if origin is dict:
        members = _schema(arguments[1], (), lenient=lenient)
        return {"bsonType": "object", **({"additionalProperties": members} if members else {})}
    if issubclass(annotation, Enum):
        return {"enum": [each.value for each in annotation]}
    if issubclass(annotation, BaseModel):
        return json_schema(annotation, lenient=lenient, is_whole=False)
    return _scalar(annotation, rules)


def _flat(metadata: Iterable[Any]) -> Iterator[Any]:
    """The rules in annotations, without what groups them."""
    for each in metadata:
        if isinstance(each, FieldInfo):
            yield from _flat(each.metadata)
        elif isinstance(each, GroupedMetadata):
            yield from _flat(each)
        else:
            yield each


def _or_null(schema: BSON) -> BSON:
    if "enum" in schema:
        return {"enum": [*schema["enum"], None]}
    kind = schema["bsonType"]
    return {**schema, "bsonType": [*([kind] if isinstance(kind, str) else kind), "null"]}


def _list(origin: Any, arguments: tuple[Any, ...], rules: list[Any], *, lenient: bool) -> BSON:
    if origin is tuple and arguments[-1] is not Ellipsis:
        items = [_schema(each, (), lenient=lenient) for each in arguments]
        return {"bsonType": "array", "items": items, "minItems": len(items), "maxItems": len(items)}
    schema: BSON = {"bsonType": "array", "items": _schema(arguments[0], (), lenient=lenient)}
    for rule in rules:
        if isinstance(rule, MinLen):
            schema["minItems"] = rule.min_length
        elif isinstance(rule, MaxLen):
            schema["maxItems"] = rule.max_length
        elif rule == Distinct:
            schema["uniqueItems"] = True
    return schema


def _scalar(annotation: Any, rules: list[Any]) -> BSON:
    schema = dict(_TYPES[annotation])
    refused = list[str]()
    for rule in rules:
        if isinstance(rule, Ge):
            schema["minimum"] = rule.ge
        elif isinstance(rule, Le):
            schema["maximum"] = rule.le
        elif isinstance(rule, MinLen):
            schema["minLength"] = rule.min_length
        elif isinstance(rule, MaxLen):
            schema["maxLength"] = rule.max_length
        elif isinstance(rule, TextRule):
            refused.append(rule.refused)
        elif pattern := getattr(rule, "pattern", None):
            schema["pattern"] = pattern.removesuffix("$") + r"\z"  # in MongoDB, $ also matches before a last line feed
        elif getattr(rule, "strip_whitespace", False):
            refused += _NOT_BLANK_AT_ENDS
    if annotation is int and schema.get("maximum", INT32_MAX + 1) <= INT32_MAX:
        schema["bsonType"] = "int"
    if refused:
        schema["not"] = {"bsonType": "string", "pattern": "|".join(dict.fromkeys(refused))}
    return schema
