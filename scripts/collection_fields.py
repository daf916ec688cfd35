"""What the document classes say of the fields of a collection: for its page and its JSON Schema."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

from beanie import Document
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from taskapi.db.schema import Confidential
from taskapi.db.validators import Since, json_schema

BSON = dict[str, Any]


class DocsError(Exception):
    """The documentation cannot be written; the message says why."""


@dataclass(frozen=True, slots=True)
class Field:
    """A stored field by its path, with its schema for MongoDB (``bsonType`` and limits)."""

    path: str
    schema: BSON
    required: bool
    description: str
    confidential: bool


def text(docstring: str | None) -> str:
    """A docstring as Markdown: paragraphs of one line."""
    paragraphs = inspect.cleandoc(docstring or "").replace("``", "`").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def described_class(model: type[BaseModel]) -> str:
    """The docstring of a class, as Markdown."""
    if "__doc__" not in vars(model) or not model.__doc__:
        raise DocsError(f"{model.__module__}.{model.__name__} has no docstring that describes its documents")
    return text(model.__doc__)


def is_internal(document: type[Document]) -> bool:
    """Whether a collection belongs to the service alone, so that any version may change it."""
    return getattr(document.Settings, "is_internal", False)


@cache
def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """The string below each field of a class."""
    found = {}
    for base in reversed(model.__mro__):
        if not base.__module__.startswith(("taskapi.", "tests.")):
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(definition, ast.ClassDef)
        for field, below in zip(definition.body, definition.body[1:], strict=False):
            match field, below:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(value=ast.Constant(str(written))):
                    found[name] = text(written)
    return found


def described(model: type[BaseModel], name: str) -> str:
    """The description of a field, as Markdown."""
    info = model.model_fields[name]
    if name not in descriptions(model):
        if issubclass(model, Document) and name == "id":
            return "The document's id."
        raise DocsError(f"{model.__module__}.{model.__name__}.{name} has no description: write it as a string below the field")
    added = "".join(
        f" Documents that taskapi before {mark.version} wrote lack it until `taskapi migrate up`."
        for mark in info.metadata
        if isinstance(mark, Since)
    )
    return descriptions(model)[name] + added


def nested(annotation: Any) -> type[BaseModel] | None:
    """The class of the objects that a field contains, alone or in a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := nested(each))), None)


def stored_fields(model: type[BaseModel], *, root: bool) -> Iterator[tuple[str, str, FieldInfo]]:
    """The name of each field as it is stored, its name in the class, and its definition."""
    for name, info in model.model_fields.items():
        if name != "revision_id":  # Beanie's own, which is not stored
            yield "_id" if name == "id" and root else name, name, info


def shapes(document: type[Document]) -> tuple[type[BaseModel], ...]:
    """The classes of the documents in a collection."""
    return (document, *getattr(document.Settings, "variants", ()))


def all_fields(model: type[BaseModel], prefix: str = "") -> Iterator[Field]:
    """The fields of ``model`` and of the objects in it, by their dotted paths."""
    schema = json_schema(model, is_whole=not prefix)
    for stored, name, info in stored_fields(model, root=not prefix):
        confidential = any(isinstance(mark, Confidential) for mark in info.metadata)
        yield Field(
            prefix + stored,
            schema["properties"][stored],
            stored in schema.get("required", ()),
            described(model, name),
            confidential,
        )
        if inner := nested(info.annotation):
            yield from all_fields(inner, f"{prefix}{stored}.")
