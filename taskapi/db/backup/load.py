"""Fills an empty database from a backup."""

from collections.abc import Iterable, Iterator
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo.database import Database
from pymongo.errors import BulkWriteError, OperationFailure

from taskapi.core.clock import utc_now
from taskapi.core.errors import StartupError
from taskapi.db.backup.dump import Progress, describe
from taskapi.db.backup.format import Description, Reader
from taskapi.db.codes import DUPLICATE_KEY, UNAUTHORIZED
from taskapi.db.connection import BSON
from taskapi.db.migrations.documents import MigrationDocument
from taskapi.db.service_state import RESTORE, ServiceStateDocument

STATE, STEPS = ServiceStateDocument.Settings.name, MigrationDocument.Settings.name  # not empty once a server was started
BATCH, BATCH_BYTES = 1000, 8 * 1024**2
MAX_NAMED = 10
VALIDATION = ("validator", "validationLevel", "validationAction")


def is_half_restored(database: "Database[BSON]") -> bool:
    """Whether a restore was started and has not finished."""
    return database[STATE].find_one({"_id": RESTORE}) is not None


def require_empty(database: "Database[BSON]") -> None:
    """Checks that the database holds no documents.

    Raises:
        StartupError: it does; the message names the collections.
    """
    if is_half_restored(database):
        raise StartupError(f"the database {database.name} is only partly restored; {begin_again(database.name)}")
    names = [
        each["collection"] for each in describe(database) if each["type"] != "view" and each["collection"] not in (STATE, STEPS)
    ]
    found = [
        f"{name} ({max(1, database[name].estimated_document_count())})"
        for name in names
        if database[name].find_one({}, {"_id": 1})
    ]
    if found:
        listed = ", ".join(found[:MAX_NAMED]) + (" …" if len(found) > MAX_NAMED else "")
        raise StartupError(
            f"the database {database.name} is not empty: {listed}. Restore into another database (TASKAPI_MONGODB_DATABASE), "
            f"or replace its contents with --drop {database.name}"
        )


def begin_again(name: str) -> str:
    """How to repeat an unfinished restore."""
    return f"start over with: taskapi restore FILE --drop {name}"


def mark(database: "Database[BSON]") -> None:
    """Marks the database as partly restored, so that no server starts on it until ``load`` has finished.

    The steps that were applied to it are those of the backup from now on.
    """
    database[STATE].update_one({"_id": RESTORE}, {"$set": {"since": utc_now()}}, upsert=True)
    database.drop_collection(STEPS)


def drop(database: "Database[BSON]") -> None:
    """Drops all collections except the one that holds the mark."""
    for description in reversed(describe(database)):  # views first
        if description["collection"] != STATE:
            database.drop_collection(description["collection"])


def load(database: "Database[BSON]", reader: Reader, progress: Progress) -> list[str]:
    """Creates and fills all collections of the backup, then removes the mark.

    Returns the names of those that have no validator because the user of MongoDB may not set one.

    Raises:
        StartupError: another process is writing to the database.
        BadFile: the file has changed since it was verified.
    """
    has_state = False
    unchecked: list[str] = []
    for description, documents in reader.contents():
        name = description["collection"]
        has_state |= name == STATE
        _create(database, description)
        for batch in _batches(documents):
            try:
                database[name].insert_many(batch)
            except BulkWriteError as error:
                if any(fault["code"] == DUPLICATE_KEY for fault in error.details["writeErrors"]):
                    raise _not_alone(name) from None
                raise
            progress(name, reader.documents, reader.bytes)
        if not _validate(database, description):
            unchecked.append(name)
        _index(database, description)
    if has_state:
        database[STATE].delete_one({"_id": RESTORE})
    else:
        database.drop_collection(STATE)
    return unchecked


def _create(database: "Database[BSON]", description: Description) -> None:
    name, options = description["collection"], dict(description["options"])
    if name == STATE:
        database[STATE].delete_many({"_id": {"$ne": RESTORE}})
        return
    if description["type"] != "view" and database[name].find_one({}, {"_id": 1}):
        raise _not_alone(name)
    database.drop_collection(name)  # created by a server that was started here
    database.command({"create": name, **{key: value for key, value in options.items() if key not in VALIDATION}})


def _validate(database: "Database[BSON]", description: Description) -> bool:
    """Sets the validator, if the collection has one. False if the user of MongoDB may not, as with the role ``readWrite``.

    It comes after the documents, which are restored as they are, even those that it would refuse.
    """
    name, options = description["collection"], description["options"]
    validation = {key: value for key, value in options.items() if key in VALIDATION}
    try:
        if validation:
            database.command({"collMod": name, **validation})
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        if database[name].find_one({}, {"_id": 1}):
            return False
        database.drop_collection(name)
        database.command({"create": name, **options})
    return True


def _index(database: "Database[BSON]", description: Description) -> None:
    name = description["collection"]
    if indexes := [index for index in description["indexes"] if index["name"] != "_id_" and not index.get("clustered")]:
        database.command("createIndexes", name, indexes=[{k: v for k, v in index.items() if k != "ns"} for index in indexes])


def _batches(documents: Iterable[bytes]) -> Iterator[list[Any]]:
    batch: list[Any] = []
    size = 0
    for document in documents:
        batch.append(RawBSONDocument(document))
        size += len(document)
        if len(batch) == BATCH or size > BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _not_alone(name: str) -> StartupError:
    return StartupError(f"another process is writing to {name}: stop the API first")
