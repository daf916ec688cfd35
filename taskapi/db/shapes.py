"""The shape of stored documents, as their Beanie classes declare it."""

from functools import cache
from typing import Any, cast

from beanie import Document
from pydantic import BaseModel, create_model


def validate(document: type[Document], stored: Any) -> Any:
    """Checks a stored document against the fields of its class, and returns them. Raises ValidationError."""
    return _fields_alone(cast(Any, document)).model_validate(stored)


@cache
def _fields_alone(document: type[Any]) -> type[BaseModel]:
    """A model with the document's fields alone, because the class itself needs a bound database."""
    fields: Any = {name: (field.annotation, field) for name, field in document.model_fields.items() if name != "revision_id"}
    model: type[BaseModel] = create_model(document.__name__, __config__={"extra": "forbid"}, **fields)
    return model
