"""Query models: the parameters of a route as one Pydantic model in its signature, ``query: Annotated[TaskQuery, Query()]``.

FastAPI would take about ten times as long to read one. ``RouteCall`` reads it just before the endpoint runs, and
``StrictRoute`` documents it.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from fastapi.dependencies.models import Dependant
from pydantic import BaseModel, ValidationError
from starlette.requests import HTTPConnection

from taskapi.core.errors import MAX_FAULTS, MAX_FIELD_LENGTH, FieldError, InvalidInput, field_errors
from taskapi.web.json_schema import schema_of, without_null

Model = TypeVar("Model", bound=BaseModel)


def query_model(dependant: Dependant) -> tuple[str, type[BaseModel]] | None:
    """The query model of a route: the name of its parameter, and it; None when it has none.

    Raises:
        TypeError: it has a query parameter beside the model, or that is no model.
    """
    if not dependant.query_params:
        return None
    field, *others = dependant.query_params
    model = field.field_info.annotation
    if others or not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise TypeError(f"{dependant.path}: the query parameters of a route are one Pydantic model")
    return field.name, model


def read_query(model: type[Model], request: HTTPConnection) -> Model:
    """The query string as ``model``, which refuses unknown parameters; repeated ones are refused as well.

    Raises:
        InvalidInput: names each wrong parameter.
    """
    if not request.scope["query_string"]:
        without: Model = _without_parameters(model)
        return without
    values: dict[str, str] = {}
    repeated: dict[str, FieldError] = {}
    for name, value in request.query_params.multi_items():
        if name in values:
            repeated[name] = FieldError(name[:MAX_FIELD_LENGTH], "was sent more than once", "repeated_parameter")
        values[name] = value
    if repeated:
        raise InvalidInput(list(repeated.values())[:MAX_FAULTS])
    return _validated(model, values)


def _validated(model: type[Model], values: Mapping[str, str]) -> Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InvalidInput(field_errors(error)) from None


@cache
def _without_parameters(model: type[Model]) -> Model:
    return _validated(model, {})  # shared by requests, none of which changes it


def parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    """The OpenAPI parameters of a query model, one for each field."""
    whole = schema_of(model)
    shared = {"$defs": whole["$defs"]} if "$defs" in whole else {}
    return [_parameter(name, {**schema, **shared}) for name, schema in whole["properties"].items()]


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    # Swagger UI shows the description of the parameter, not of its schema, and would send an example of the parameter.
    schema = without_null(schema)
    texts = [schema["description"]] if "description" in schema else []
    texts += [f"For example `{example}`." for example in schema.get("examples", ())[:1]]
    bare = {key: value for key, value in schema.items() if key != "description"}
    return {"name": name, "in": "query", "required": False, "description": " ".join(texts), "schema": bare}
