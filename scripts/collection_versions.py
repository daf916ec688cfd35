"""The version of the schema, by Semantic Versioning: whether it says how much has changed since the last release.

schemas/released.json is the contract of that release: the kinds of documents in each collection and view, their fields with types
and limits, and the indexes. Secrets, and collections that belong to the service alone, are not part of it.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from typing import Any

from beanie import Document
from collection_fields import all_fields, is_internal, shapes
from collection_pages import index_keys, index_properties, kinds, limits

from taskapi.db.views import View

Contract = Mapping[str, Any]


class Change(IntEnum):
    """How much has changed: the part of the version that it increases."""

    none = 2
    minor = 1
    major = 0


def contract(documents: Iterable[type[Document]], views: Iterable[View]) -> Contract:
    """What scripts can rely on, as JSON."""
    collections = {document.Settings.name: document for document in documents if not is_internal(document)}
    return {
        **{name: {"kinds": _kinds(document), "indexes": _indexes(document)} for name, document in collections.items()},
        **{view.name: {"kinds": {"row": {field.name: _row_field(field.types) for field in view.fields}}} for view in views},
    }


def _kinds(document: type[Document]) -> Contract:
    return {
        shape.__name__: {
            field.path: {"types": kinds(field.schema, absent=not field.required), "limits": list(limits(field.schema))}
            for field in all_fields(shape)
            if not field.confidential
        }
        for shape in shapes(document)
    }


def _indexes(document: type[Document]) -> Contract:
    return {index.name: [*index_keys(index), *index_properties(index)] for index in document.Settings.indexes}


def _row_field(types: str) -> Contract:
    return {"types": types.replace(" or ", ", ").split(", "), "limits": []}


def change(released: Contract, current: Contract) -> Change:
    """How much has changed for scripts that know the ``released`` contract."""
    if list(breaks(released, current)):
        return Change.major
    return Change.none if released == current else Change.minor


def breaks(released: Contract, current: Contract) -> Iterator[str]:
    """What scripts that know the ``released`` contract may stumble over."""
    for name, collection in released.items():
        if name not in current:
            yield f"{name} is gone"
            continue
        kinds_now = current[name]["kinds"]
        yield from (f"{name} has documents of a new kind: {kind}" for kind in kinds_now.keys() - collection["kinds"].keys())
        for kind, fields in collection["kinds"].items():
            for path, field in fields.items():
                if not (now := kinds_now.get(kind, {}).get(path)):
                    yield f"{name}.{path} is gone"
                elif added := [each for each in now["types"] if each not in field["types"]]:
                    yield f"{name}.{path} may be {', '.join(added)}"


def additions(released: Contract, current: Contract) -> Iterator[str]:
    """The names of what is new: collections, views, and fields without what is in them."""
    for name, collection in current.items():
        if name not in released:
            yield name
            continue
        fields, known = ({path for kind in each["kinds"].values() for path in kind} for each in (collection, released[name]))
        yield from sorted(path for path in fields - known if path.rpartition(".")[0] not in fields - known)


def is_right(version: str, released: str, change: Change) -> bool:
    """Whether ``version`` may follow the ``released`` one after such a change. The last number is free."""
    now, before = ([int(number) for number in each.split(".")] for each in (version, released))
    if change is Change.none:
        return now[:2] == before[:2] and now[2] >= before[2]
    return now == [*before[:change], before[change] + 1, *([0] * (2 - change))]
