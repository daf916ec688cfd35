"""The indexes that a document declares, and how those of its collection differ from them.

A missing index is created. No other one is touched unless an operator asks: a drifted one may be a repair in progress, and a
former one may serve workers of the previous version.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from beanie import Document
from pymongo import IndexModel
from pymongo.errors import DuplicateKeyError, OperationFailure

from taskapi.core.errors import StartupError
from taskapi.db.codes import INDEX_NOT_FOUND

log = logging.getLogger(__name__)

MIGRATE = "taskapi migrate up"  # the command that mends what a start only reports
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


MODIFIABLE = ("hidden", "expireAfterSeconds")
"""The options that MongoDB changes in place."""


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
    is_guarded: bool = False  # only an operator may drop it: it keeps values unique, or searches need it
    modification: Mapping[str, Any] = field(default_factory=dict, compare=False)  # the options to change in place, if that is all

    @property
    def is_repairable(self) -> bool:
        """Whether a repair replaces or modifies it."""
        return self.drift in (Drift.changed, Drift.renamed) and not self.is_guarded

    @property
    def remedy(self) -> str:
        """What repairs it."""
        if self.is_guarded:
            return f"stop the service, drop {self.stored_name or self.name} in mongosh, then run: {MIGRATE}"
        return f"to repair it: {MIGRATE}"

    def describe(self) -> str:
        """What differs, in one line, and what to do if that takes more than the command."""
        other = f" {self.stored_name}" if self.stored_name else ""
        remedy = f"; {self.remedy}" if self.is_guarded else ""
        return f"index {self.name} of {self.collection} {DESCRIPTIONS[self.drift]}{other}{remedy}"


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
                changes = _modification(wanted, stored[name])
                is_guarded = not changes and _is_guarded(wanted, stored[name])
                found.append(IndexDrift(collection.name, name, Drift.changed, None, is_guarded, changes))
            continue
        twin = next((other for other, each in stored.items() if other not in declared and _is_same(wanted, each)), None)
        if twin:
            twins.add(twin)
            found.append(IndexDrift(collection.name, name, Drift.renamed, twin, _is_guarded(wanted, stored[twin])))
        else:
            found.append(IndexDrift(collection.name, name, Drift.missing))
    others = sorted(stored.keys() - declared.keys() - twins)
    return found + [IndexDrift(collection.name, name, Drift.former if name in former else Drift.unknown) for name in others]


async def create_missing(collection: Any, document: type[Document]) -> None:
    """Creates the declared indexes that are missing. Several workers may do this at once.

    Raises:
        StartupError: MongoDB cannot build one; one line with its name.
    """
    drifts = await compare(collection, document)
    missing = [each.name for each in drifts if each.drift is Drift.missing]
    if missing and await collection.find_one({}, {"_id": 1}):
        log.info("indexes of %s to build first: %d", collection.name, len(missing))
    drifted = {each.name: each for each in drifts if each.drift in (Drift.changed, Drift.renamed)}
    # Also those that are there: they may still be being built, which this waits for.
    if declared := [index for index in document.Settings.indexes if index.document["name"] not in drifted]:
        await _create(collection, declared)
    for name, each in drifted.items():
        fields = {"collection": collection.name, "index": name}
        log.warning("an index differs from its definition; %s", each.remedy, extra={"fields": fields})


async def repair(collection: Any, document: type[Document]) -> list[IndexDrift]:
    """Repairs the indexes that have another definition or name. Returns them.

    Options are changed in place where MongoDB can. Other indexes are replaced, and queries do without each while it is built. One
    that is unique or of text is left to the operator: until it was built again, duplicates could come in, which it would refuse.
    """
    drifts = [each for each in await compare(collection, document) if each.is_repairable]
    by_name = {index.document["name"]: index for index in document.Settings.indexes}
    for each in drifts:
        if each.modification:
            await collection.database.command("collMod", collection.name, index={"name": each.name, **each.modification})
            continue
        await _drop(collection, each.stored_name or each.name)
        await _create(collection, [by_name[each.name]])
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


async def _create(collection: Any, wanted: Sequence[IndexModel]) -> None:
    try:
        await collection.create_indexes(wanted)
    except OperationFailure as error:
        if error.timeout:
            raise
        if len(wanted) > 1:  # which of them it was
            for each in wanted:
                await _create(collection, [each])
            return
        index = wanted[0].document
        reason = str(error).split(", full error")[0]
        if isinstance(error, DuplicateKeyError):  # its message has the value
            reason = f"several documents have the same {', '.join(index['key'])}"
        raise StartupError(f"the index {index['name']} of the collection {collection.name} cannot be built: {reason}") from None


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


def _modification(wanted: Mapping[str, Any], stored: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options that make a stored index the declared one in place. Empty if that takes more."""
    changes = {name: wanted.get(name, OPTIONS[name]) for name in MODIFIABLE}
    if not _is_same(wanted, {**stored, **changes}):
        return {}
    changes = {name: value for name, value in changes.items() if value != stored.get(name, OPTIONS[name])}
    return {} if None in changes.values() else changes  # MongoDB cannot take an expiry away


def _is_guarded(wanted: Mapping[str, Any], stored: Mapping[str, Any]) -> bool:
    """Whether one of the two keeps values unique, or is of text."""
    return any(each.get("unique") or "text" in each["key"].values() for each in (wanted, stored))


def _keys(keys: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The keys in order. MongoDB stores those of a text index as one, with their names in its weights."""
    found: list[tuple[str, Any]] = []
    for name, value in keys.items():
        pair = ("text", 1) if value == "text" else (name, value)
        if name != "_ftsx" and not (pair == ("text", 1) and pair in found):
            found.append(pair)
    return found
