"""The JSON Schema of a collection, for its documents as ``mongoexport`` writes them: in Extended JSON, relaxed."""

import json
from collections.abc import Mapping
from typing import Any

from beanie import Document
from bson import json_util
from collection_fields import described, described_class, nested, shapes, stored_fields
from pydantic import BaseModel

from taskapi.db.schema import VERSION
from taskapi.db.validators import json_schema, validator

BSON = dict[str, Any]
WRAPPED: Mapping[str, BSON] = {
    "objectId": {
        "type": "object",
        "properties": {"$oid": {"type": "string", "pattern": "^[0-9a-f]{24}$"}},
        "required": ["$oid"],
        "additionalProperties": False,
    },
    "date": {
        "description": "UTC, in milliseconds.",
        "type": "object",
        "properties": {"$date": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z$"}},
        "required": ["$date"],
        "additionalProperties": False,
    },
    "binData": {
        "type": "object",
        "properties": {
            "$binary": {
                "type": "object",
                "properties": {"base64": {"type": "string"}, "subType": {"type": "string"}},
                "required": ["base64", "subType"],
                "additionalProperties": False,
            }
        },
        "required": ["$binary"],
        "additionalProperties": False,
    },
}
"""What Extended JSON wraps."""
PLAIN = {"int": "integer", "long": "integer", "double": "number"}
KEPT = (
    "enum",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "uniqueItems",
    "required",
    "maxProperties",
)


def schema_file(document: type[Document]) -> str:
    """The JSON Schema of the documents of a collection."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": document.Settings.name,
        "description": f"{described_class(document)}\n\nVersion {VERSION}.",
        **_any_of([_convert(json_schema(shape), shape, root=True) for shape in shapes(document)]),
    }
    written = json.dumps(schema)
    used = {name: wrapped for name, wrapped in WRAPPED.items() if f'"#/$defs/{name}"' in written}
    return _pretty({**schema, "$defs": used} if used else schema)


def validator_file(document: type[Document]) -> str:
    """The validator of a collection, in Extended JSON."""
    return _pretty(json.loads(json_util.dumps(validator(document), json_options=json_util.RELAXED_JSON_OPTIONS)))


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _any_of(arms: list[BSON]) -> BSON:
    return arms[0] if len(arms) == 1 else {"anyOf": arms}


def _convert(schema: BSON, model: type[BaseModel] | None = None, *, root: bool = False) -> BSON:
    """The JSON Schema for a schema of MongoDB. ``model`` is the class of the objects in the value, if they have one."""
    rules = {name: schema[name] for name in KEPT if name in schema}
    if "pattern" in schema:
        rules["pattern"] = _ecma(schema["pattern"])
    if "not" in schema:
        rules["not"] = _convert(schema["not"])
    if "properties" in schema:
        rules["properties"] = _properties(schema["properties"], model, root=root)
    if "patternProperties" in schema:
        rules["patternProperties"] = {_ecma(name): _convert(each) for name, each in schema["patternProperties"].items()}
    if "additionalProperties" in schema:
        others = schema["additionalProperties"]
        rules["additionalProperties"] = _convert(others) if isinstance(others, dict) else others
    if "items" in schema:
        items = schema["items"]
        if isinstance(items, list):
            rules["prefixItems"] = [_convert(each) for each in items]
        else:
            rules["items"] = _convert(items, model)
    return _typed(schema.get("bsonType", []), rules)


def _typed(found: str | list[str], rules: BSON) -> BSON:
    """``rules`` for values of these BSON types."""
    kinds = [found] if isinstance(found, str) else found
    plain = list(dict.fromkeys(PLAIN.get(kind, "boolean" if kind == "bool" else kind) for kind in kinds if kind not in WRAPPED))
    plain = [kind for kind in plain if kind != "integer" or "number" not in plain]
    arms: list[BSON] = [{"$ref": f"#/$defs/{kind}"} for kind in kinds if kind in WRAPPED]
    if plain or not arms:
        arms.append({**({"type": plain[0] if len(plain) == 1 else plain} if plain else {}), **rules})
    return _any_of(arms)


def _properties(schemas: BSON, model: type[BaseModel] | None, *, root: bool) -> BSON:
    if model is None:
        return {name: _convert(each) for name, each in schemas.items()}
    return {
        stored: {"description": described(model, name), **_convert(schemas[stored], nested(info.annotation))}
        for stored, name, info in stored_fields(model, root=root)
    }


def _ecma(pattern: str) -> str:
    return pattern.replace(r"\z", "$")  # without multi-line mode, ECMAScript's $ matches only at the very end
