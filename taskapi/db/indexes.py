"""The indexes that a document declares, and how those of its collection differ from them.

A missing index is created. No other one is touched unless an operator asks: a drifted one may be a repair in progress, and a
former one may serve workers of the previous version.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from beanie import Document
from pymongo import IndexModel
from pymongo.errors import OperationFailure

log = logging.getLogger(__name__)

INDEX_NOT_FOUND = 27
OPTIONS = {
    "unique": False,
    "sparse": False,
    "hidden": False,
    "expireAfterSeconds": None,
    "partialFilterExpression": None,
    "weights": None,
    "default_language": None,
    "language_override": None,
}
"""The options that are compared, with what the absence of each means; also the collation."""


class Index(IndexModel):
    """An index, and which queries it ``serves``, in Markdown for the page of its collection. It has a name of its own."""

    def __init__(self, keys: Sequence[tuple[str, int | str]], *, name: str, serves: str, **options: Any) -> None:
        super().__init__(keys, name=name, **options)
        self.name, self.serves = name, serves


class Drift(StrEnum):
    """How an index differs from the declarations."""

    missing = "missing"
    changed = "changed"  # another definition under the name of a declared one
    renamed = "renamed"  # the definition of a declared one under another name, which MongoDB does not allow twice
    former = "former"  # declared by an earlier version
    unknown = "unknown"  # made by somebody else: left alone


DESCRIPTIONS = {
    Drift.missing: "is missing",
    Drift.changed: "has another definition",
    Drift.renamed: "exists under the name",
    Drift.former: "is of an earlier version",
    Drift.unknown: "is not of taskapi",
}


@dataclass(frozen=True, slots=True)
class IndexDrift:
    """An index that differs."""

    collection: str
    name: str
    drift: Drift
    stored_name: str | None = None  # of a renamed one

    def describe(self) -> str:
        """What differs, in one line."""
        other = f" {self.stored_name}" if self.stored_name else ""
        return f"index {self.name} of {self.collection} {DESCRIPTIONS[self.drift]}{other}"


async def compare(collection: Any, document: type[Document]) -> list[IndexDrift]:
    """The indexes of a collection that differ from the declarations of its document."""
    stored = {each["name"]: dict(each) for each in await collection.list_indexes().to_list(None) if each["name"] != "_id_"}
    declared = {index.document["name"]: index.document for index in document.Settings.indexes}
    former = set(getattr(document.Settings, "former_indexes", ()))
    found: list[IndexDrift] = []
    twins: set[str] = set()
    for name, wanted in declared.items():
        if name in stored:
            if not _is_same(wanted, stored[name]):
                found.append(IndexDrift(collection.name, name, Drift.changed))
            continue
        twin = next((other for other, each in stored.items() if other not in declared and _is_same(wanted, each)), None)
        if twin:
            twins.add(twin)
        found.append(IndexDrift(collection.name, name, Drift.renamed if twin else Drift.missing, twin))
    others = sorted(stored.keys() - declared.keys() - twins)
    return found + [IndexDrift(collection.name, name, Drift.former if name in former else Drift.unknown) for name in others]


async def create_missing(collection: Any, document: type[Document]) -> None:
    """Creates the declared indexes that are missing. Several workers may do this at once."""
    drifted = {each.name for each in await compare(collection, document) if each.drift in (Drift.changed, Drift.renamed)}
    # Also those that are there: they may still be being built, which this waits for.
    if declared := [index for index in document.Settings.indexes if index.document["name"] not in drifted]:
        await collection.create_indexes(declared)
    for name in drifted:
        fields = {"collection": collection.name, "index": name}
        log.warning("an index differs from its definition; to repair it: taskapi migrate up", extra={"fields": fields})


async def repair(collection: Any, document: type[Document]) -> list[IndexDrift]:
    """Replaces the indexes that have another definition or name. Returns them. Queries do without each while it is built."""
    drifts = [each for each in await compare(collection, document) if each.drift in (Drift.changed, Drift.renamed)]
    by_name = {index.document["name"]: index for index in document.Settings.indexes}
    for each in drifts:
        await _drop(collection, each.stored_name or each.name)
        await collection.create_indexes([by_name[each.name]])
    return drifts


async def drop_former(collection: Any, document: type[Document]) -> None:
    """Drops the indexes of earlier versions, once all declared ones exist.

    An index that cannot be dropped only slows writes down, so it is logged and the service starts.
    """
    for each in await compare(collection, document):
        if each.drift is Drift.former:
            try:
                await _drop(collection, each.name)
            except OperationFailure as error:
                fields = {"collection": collection.name, "index": each.name, "reason": str(error).split(", full error")[0]}
                log.warning("former index not dropped", extra={"fields": fields})


async def _drop(collection: Any, name: str) -> None:
    try:
        await collection.drop_index(name)
    except OperationFailure as error:
        if error.code != INDEX_NOT_FOUND:  # another process was quicker
            raise
    log.info("index %s of %s dropped", name, collection.name)


def _is_same(wanted: Mapping[str, Any], stored: Mapping[str, Any]) -> bool:
    """Whether a stored index has the definition of a declared one, whatever its name."""
    if _keys(wanted["key"]) != _keys(stored["key"]):
        return False
    if any(wanted.get(option, absent) != stored.get(option, absent) for option, absent in OPTIONS.items()):
        return False
    collation, stored_collation = wanted.get("collation"), stored.get("collation") or {}
    if collation is None:
        return not stored_collation
    return all(stored_collation.get(name) == value for name, value in dict(collation).items())


def _keys(keys: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The keys in order. MongoDB stores those of a text index as one, with their names in its weights."""
    found: list[tuple[str, Any]] = []
    for name, value in keys.items():
        pair = ("text", 1) if value == "text" else (name, value)
        if name != "_ftsx" and not (pair == ("text", 1) and pair in found):
            found.append(pair)
    return found
