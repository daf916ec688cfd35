"""The ``fields`` parameter: which fields of a task are read and returned."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model
from pydantic_core import PydanticCustomError

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.fields import omittable
from taskapi.db import damaged
from taskapi.db.connection import BSON
from taskapi.tasks.fields import OPTIONAL_FIELDS, field, is_index
from taskapi.tasks.schemas import READ_EXAMPLE, ChecklistItemRead, OwnerRead, TaskRead
from taskapi.tasks.storage.reading import SOURCE


def _check_fields(fields: str) -> str:
    for number, name in enumerate(fields.split(","), 1):
        if not field(name):
            raise PydanticCustomError("unknown_field", f"Name {number} in the list is not a field")
    return fields


Fields = Annotated[
    str,
    Field(
        max_length=1000,
        description="The fields to return, separated by commas; default all. Use dotted paths into `owner`, `checklist` and "
        "`metadata`; a number selects an element of a list: `metadata.list.0` returns the list with only that element.",
        examples=["id,title,owner.username,metadata.project"],
    ),
    AfterValidator(_check_fields),
]


Part = TypeVar("Part", bound=BaseModel)


def _part_of(whole: type[BaseModel], **inner: Any) -> Callable[[type[Part]], type[Part]]:
    """Adds each field of ``whole`` to a class, as optional; ``inner`` has the types of fields that are partial themselves."""

    def with_fields(part: type[Part]) -> type[Part]:
        fields: dict[str, Any] = {
            name: (
                inner.get(name, Annotated[(info.annotation, *info.metadata)]),
                omittable(validation_alias=info.validation_alias, description=info.description),
            )
            for name, info in whole.model_fields.items()
        }
        return create_model(part.__name__, __base__=part, __module__=part.__module__, __doc__=part.__doc__, **fields)

    return with_fields


@_part_of(OwnerRead)
class OwnerPart(BaseModel):
    """The owner of a task, in part."""


@_part_of(ChecklistItemRead)
class ChecklistItemPart(BaseModel):
    """An item of a checklist, in part."""


@_part_of(TaskRead, owner=OwnerPart, checklist=list[ChecklistItemPart])
class TaskPart(BaseModel):
    """The requested fields of a task, each as in the whole task."""

    model_config = ConfigDict(json_schema_extra={"examples": [{name: READ_EXAMPLE[name] for name in ("id", "title")}]})


Tree = dict[str, "Tree"]
"""The requested names, each with those below it; an empty tree requests everything."""


@dataclass(frozen=True, slots=True)
class Projection:
    """The requested fields of a task by their stored paths, none of which is inside another."""

    paths: frozenset[str]

    @classmethod
    def of(cls, fields: str) -> "Projection":
        """The projection for a ``fields`` parameter."""
        return cls(_outermost({known.stored for name in fields.split(",") if (known := field(name))}))

    def stored(self, *more: str) -> dict[str, int]:
        """The projection for MongoDB: these fields and ``more``, without the owner, who is known."""
        read = _outermost({_readable(path) for path in self.paths})
        return {path: 1 for path in (*read, *more, "version") if path.partition(".")[0] != "owner"}

    def part(self, task: BSON, owner: UserRead) -> TaskPart:
        """The requested part of a stored task, as its ``owner`` sees it."""
        tree: Tree = {}
        for path in self.paths:
            below = tree
            for name in path.split("."):
                below = below.setdefault(name, {})
        theirs = {"id": owner.id, "username": owner.username}
        lacking = {name: TaskRead.model_fields[name].get_default() for name in tree.keys() & OPTIONAL_FIELDS}
        part = _only({**lacking, **task, "owner": theirs}, tree)
        return damaged.read_part(TaskPart, part, tree.keys(), task, SOURCE)


def _outermost(paths: set[str]) -> frozenset[str]:
    """The paths that are not inside another one."""
    return frozenset(path for path in paths if not any(path.startswith(f"{other}.") for other in paths))


def _readable(path: str) -> str:
    """The path up to the first array index: MongoDB's projections cannot select array elements."""
    names = path.split(".")
    ends = [place for place, name in enumerate(names) if place > 1 and is_index(name)]
    return ".".join(names[: ends[0]] if ends else names)


def _only(value: Any, tree: Tree) -> Any:
    """The part of ``value`` that ``tree`` requests, by the rules of MongoDB's projections; a number selects an element."""
    if not tree:
        return value
    if isinstance(value, list):
        elements = {int(name): below for name, below in tree.items() if is_index(name)}
        names = {name: below for name, below in tree.items() if not is_index(name)}
        wanted = [(member, elements.get(place, names)) for place, member in enumerate(value) if place in elements or names]
        return [_only(member, below) for member, below in wanted if not below or isinstance(member, dict | list)]
    held = {name: value[name] for name in tree if name in value}
    return {name: _only(inner, tree[name]) for name, inner in held.items() if not tree[name] or isinstance(inner, dict | list)}
