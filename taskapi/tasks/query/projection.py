"""Some fields of a task in place of all: which are read, and how they look."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt
from pydantic_core import PydanticCustomError

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.fields import Id, StoredDay, UTCDateTime, omittable
from taskapi.db import damaged
from taskapi.db.connection import BSON
from taskapi.tasks.fields import field, is_index
from taskapi.tasks.metadata import StoredMetadata
from taskapi.tasks.schemas import READ_EXAMPLE, Status, TaskRead
from taskapi.tasks.storage.reading import SOURCE


def _known(fields: str) -> str:
    for number, name in enumerate(fields.split(","), 1):
        if not field(name):
            raise PydanticCustomError("unknown_field", f"Name {number} in the list is not a field")
    return fields


Fields = Annotated[
    str,
    Field(
        max_length=1000,
        description="The fields that are wanted, separated by commas; dotted into `owner`, `checklist` and `metadata`, "
        "where a number names an element of a list: `metadata.list.0` gives the list with that element alone. Without it, all.",
        examples=["id,title,owner.username,metadata.project"],
    ),
    AfterValidator(_known),
]


OPTIONAL_FIELDS = {name for name, info in TaskRead.model_fields.items() if not info.is_required()}


class OwnerPart(BaseModel):
    """Whose task it is, in part."""

    id: Id = omittable()
    username: str = omittable()


class ChecklistItemPart(BaseModel):
    """An item of a checklist, in part."""

    id: Id = omittable()
    text: str = omittable()
    done: bool = omittable()


class TaskPart(BaseModel):
    """The fields of a task that were asked for, each as in the whole task."""

    model_config = ConfigDict(json_schema_extra={"examples": [{name: READ_EXAMPLE[name] for name in ("id", "title")}]})

    id: Annotated[Id, Field(validation_alias="_id")] = omittable()
    title: str = omittable()
    description: str = omittable()
    status: Status = omittable()
    completed: bool = omittable()
    completed_at: UTCDateTime | None = omittable()
    priority: int = omittable()
    due_date: StoredDay | None = omittable()
    tags: list[str] = omittable()
    links: list[str] = omittable()
    checklist: list[ChecklistItemPart] = omittable()
    progress: float = omittable(ge=0, le=1)
    metadata: StoredMetadata = omittable()
    key: str | None = omittable()
    owner: OwnerPart = omittable()
    created_at: UTCDateTime = omittable()
    updated_at: UTCDateTime = omittable()
    version: StrictInt = omittable()


Tree = dict[str, "Tree"]
"""Names and what is wanted below them; nothing below means all."""


@dataclass(frozen=True, slots=True)
class Projection:
    """Fields of a task by their stored paths, none within another."""

    paths: frozenset[str]

    @classmethod
    def of(cls, fields: str) -> "Projection":
        """The projection that ``fields`` names."""
        return cls(_outermost({known.stored for name in fields.split(",") if (known := field(name))}))

    def stored(self, *more: str) -> dict[str, int]:
        """What MongoDB is to read: these fields and ``more``, but for the owner, who is known."""
        read = _outermost({_readable(path) for path in self.paths})
        return {path: 1 for path in (*read, *more, "version") if path.partition(".")[0] != "owner"}

    def part(self, task: BSON, owner: UserRead) -> TaskPart:
        """What the caller, who is the owner, sees of a stored task."""
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
    """The paths that are within no other."""
    return frozenset(path for path in paths if not any(path.startswith(f"{other}.") for other in paths))


def _readable(path: str) -> str:
    """The path as far as MongoDB can follow it: a projection of its knows no elements of arrays."""
    names = path.split(".")
    ends = [place for place, name in enumerate(names) if place > 1 and is_index(name)]
    return ".".join(names[: ends[0]] if ends else names)


def _only(value: Any, tree: Tree) -> Any:
    """What ``tree`` wants of ``value``, in the manner of MongoDB's projections, and of lists by the numbers of elements."""
    if not tree:
        return value
    if isinstance(value, list):
        elements = {int(name): below for name, below in tree.items() if is_index(name)}
        names = {name: below for name, below in tree.items() if not is_index(name)}
        wanted = [(member, elements.get(place, names)) for place, member in enumerate(value) if place in elements or names]
        return [_only(member, below) for member, below in wanted if not below or isinstance(member, dict | list)]
    held = {name: value[name] for name in tree if name in value}
    return {name: _only(inner, tree[name]) for name, inner in held.items() if not tree[name] or isinstance(inner, dict | list)}
