"""The validators of the collections of a database: gives them to collections, and keeps them from standing in the service's way.

A new collection is strict: MongoDB refuses every write that leaves an invalid document. In an older one, documents may be
invalid already. There the level is moderate, which lets those be changed and repaired, until ``tighten`` finds none.

As with indexes, a start gives no validator to a collection that has documents: ``taskapi migrate up`` does.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import bson
import pymongo
from beanie import Document
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from taskapi.db.codes import FAILED_VALIDATION, NAMESPACE_EXISTS, UNAUTHORIZED
from taskapi.db.indexes import MIGRATE, Drift
from taskapi.db.validators import validator

log = logging.getLogger(__name__)

BSON = dict[str, Any]
COLLECTION = "collection"
SCAN_SECONDS = 3600  # to look at all documents of a collection
REPEATABLE = {"Collection.find_one_and_update", "Collection.update_one"}  # they have changed nothing when they fail
UPDATES = {*REPEATABLE, "Collection.bulk_write", "Collection.update_many"}
NO_RIGHT = "the user of MongoDB may not set a validator: what scripts write is not checked"
REMEDY = f"grant the role dbAdmin (it has the action collMod), then run: {MIGRATE}"


class Level(StrEnum):
    """Which writes MongoDB checks."""

    strict = "strict"  # all
    moderate = "moderate"  # all but changes of documents that were invalid before


@dataclass(frozen=True, slots=True)
class ValidatorDrift:
    """A collection whose validator differs."""

    collection: str
    drift: Drift
    is_guarded: bool = False

    def describe(self) -> str:
        """What differs, in one line."""
        return f"validator of {self.collection} {'is missing' if self.drift is Drift.missing else 'differs, or is not enforced'}"


async def create_missing(database: Any, documents: Iterable[type[Document]]) -> None:
    """Creates the collections that are missing, with strict validators. Several workers may do this at once.

    If the user may not list collections, it tries to create each.
    """
    known = await _options(database, documents)
    if known is None:
        fields = {"remedy": "grant the role readWrite"}
        log.warning("the user of MongoDB may not list collections: missing validators are not noticed", extra={"fields": fields})
    for document in documents:
        if document.Settings.name not in (known or ()):
            try:
                await database.command("create", document.Settings.name, **_validated(document, Level.strict))
            except OperationFailure as error:
                if error.code != NAMESPACE_EXISTS:  # another worker was quicker
                    raise


async def compare(database: Any, documents: Iterable[type[Document]], *, lenient: bool) -> list[ValidatorDrift]:
    """The collections whose validators differ from those of the documents; none if the user may not look."""
    known = await _options(database, documents)
    found: list[ValidatorDrift] = []
    if known is None:
        return found
    for document in documents:
        options = known.get(document.Settings.name, {})
        if not options.get("validator"):
            found.append(ValidatorDrift(document.Settings.name, Drift.missing))
        elif not _is_same(options, validator(document, lenient=lenient)):
            found.append(ValidatorDrift(document.Settings.name, Drift.changed))
    return found


async def repair(database: Any, documents: Iterable[type[Document]], *, lenient: bool) -> None:
    """Gives the collections that differ their validators. They are moderate afterwards."""
    names = {each.collection for each in await compare(database, documents, lenient=lenient)}
    for document in documents:
        if document.Settings.name in names:
            await _modify(database, document.Settings.name, **_validated(document, Level.moderate, lenient=lenient))


async def tighten(database: Any, documents: Iterable[type[Document]]) -> None:
    """Makes the collections without invalid documents strict."""
    known = await _options(database, documents) or {}
    for document in documents:
        name = document.Settings.name
        if known.get(name, {}).get("validationLevel", "strict") != Level.strict and not await count_invalid(database, document):
            await _modify(database, name, validationLevel=Level.strict.value)


async def loosen(database: Any, documents: Iterable[type[Document]]) -> None:
    """Makes strict collections moderate, so that invalid documents can be changed."""
    known = await _options(database, documents) or {}
    for document in documents:
        name = document.Settings.name
        if known.get(name, {}).get("validator") and known[name].get("validationLevel", "strict") == Level.strict:
            await _modify(database, name, validationLevel=Level.moderate.value)


async def count_invalid(database: Any, document: type[Document]) -> int:
    """The number of documents that a validator refuses."""
    with pymongo.timeout(SCAN_SECONDS):
        count: int = await database.get_collection(document.Settings.name).count_documents(invalid(document))
    return count


def invalid(document: type[Document]) -> BSON:
    """The filter of the documents that their validator refuses."""
    return {"$nor": [validator(document)]}


def run_update(method: str, collection: "Collection[BSON]", call: Callable[[], Any]) -> Any:
    """The result of ``call``, which runs this method of a collection.

    An update can fail because the document was invalid before, although its collection is strict: somebody has bypassed the
    validation. Then the level becomes moderate. The update is repeated if it has changed nothing; else the caller repeats it.
    In a transaction nothing of it lasts, and to repeat it makes MongoDB ask for all of the transaction again.

    An error gets the name of the collection as its attribute COLLECTION.
    """
    try:
        return _run_update(method, collection, call)
    except OperationFailure as error:
        setattr(error, COLLECTION, collection.name)
        raise


def _run_update(method: str, collection: "Collection[BSON]", call: Callable[[], Any]) -> Any:
    try:
        return call()
    except OperationFailure as error:
        has_changed_nothing = method in REPEATABLE or getattr(call, "keywords", {}).get("session") is not None
        if not _is_refused(error) or not _relax(collection) or not has_changed_nothing:
            raise
    return call()


def _validated(document: type[Document], level: Level, *, lenient: bool = False) -> BSON:
    return {"validator": validator(document, lenient=lenient), "validationLevel": level.value, "validationAction": "error"}


async def _options(database: Any, documents: Iterable[type[Document]]) -> Mapping[str, BSON] | None:
    """The options that each collection is stored with, by its name; None if the user may not see them."""
    names = [document.Settings.name for document in documents]
    try:
        found = await database.command("listCollections", filter={"name": {"$in": names}}, cursor={"batchSize": len(names) + 1})
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        return None
    return {each["name"]: each["options"] for each in found["cursor"]["firstBatch"]}


def _is_same(options: BSON, wanted: BSON) -> bool:
    is_enforced = options.get("validationLevel", "strict") in set(Level) and options.get("validationAction", "error") == "error"
    return is_enforced and bson.encode(options["validator"]) == bson.encode(wanted)


async def _modify(database: Any, name: str, **options: Any) -> None:
    """Changes the options of a collection. A user who may not gets a warning only: the service itself writes nothing invalid."""
    try:
        await database.command("collMod", name, **options)
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        log.warning(NO_RIGHT, extra={"fields": {"collection": name, "remedy": REMEDY}})
    else:
        log.info("validator of %s set: %s", name, options["validationLevel"])


def _is_refused(error: OperationFailure) -> bool:
    faults = (error.details or {}).get("writeErrors", ())
    return FAILED_VALIDATION in (error.code, *(fault.get("code") for fault in faults))


def _relax(collection: "Collection[BSON]") -> bool:
    """Makes the level of a strict collection moderate. False if it is not strict, or the user may not change it."""
    try:
        if collection.options().get("validationLevel", "strict") != Level.strict:
            return False
        collection.database.command({"collMod": collection.name, "validationLevel": Level.moderate.value})
    except OperationFailure:
        return False
    fields = {"collection": collection.name, "command": "taskapi migrate verify"}
    log.warning("an invalid document was met: from now on, such documents can be changed", extra={"fields": fields})
    return True
