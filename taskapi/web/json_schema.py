"""JSON Schemas for the parts of the OpenAPI document that FastAPI does not derive."""

from typing import Any

from pydantic import BaseModel

COMPONENT = "#/components/schemas/{model}"


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of a model. ``openapi`` moves its ``$defs`` to the components, where its references point."""
    return model.model_json_schema(ref_template=COMPONENT)


def definitions(model: type[BaseModel]) -> dict[str, Any]:
    """The ``$defs`` of a schema that only refers to ``model``: the model's own schema, and those it refers to."""
    schema = schema_of(model)
    return {"$defs": {**schema.pop("$defs", {}), model.__name__: schema}}


def without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a value that is sent as text, in a query or a form, where there is no null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {**kinds[0], **{key: value for key, value in schema.items() if key != "anyOf"}}
