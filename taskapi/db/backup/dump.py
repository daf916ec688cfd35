"""Reads a whole database in one snapshot."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

from taskapi.core.errors import StartupError
from taskapi.db.backup.format import Writer
from taskapi.db.codes import SNAPSHOT_LOST
from taskapi.db.connection import BSON
from taskapi.db.transactions import is_standalone

BATCH = 1000  # documents; MongoDB sends 16 MiB at most
HISTORY = "minSnapshotHistoryWindowInSeconds"  # how long MongoDB keeps snapshots; five minutes by default
HISTORY_SECONDS, USUAL_HISTORY_SECONDS = 24 * 3600, 300
# These collections are restored last. A server may run during a restore: it must not find an account that is due for
# deletion, or a mail or delivery that is due, before the data that belongs to it.
LAST = ("users", "mail_jobs", "webhook_deliveries")

Progress = Callable[[str, int, int], None]
"""Called with the name of the collection, and the total number of documents and bytes so far."""


def describe(database: "Database[BSON]") -> list[BSON]:
    """All collections with their options and indexes, in the order of their restore: views last."""
    found = []
    for entry in database.list_collections():
        name, kind = entry["name"], entry["type"]
        if not name.startswith("system."):
            indexes = [] if kind == "view" else [dict(index) for index in database[name].list_indexes()]
            found.append({"collection": name, "type": kind, "options": entry["options"], "indexes": indexes})
    return sorted(found, key=lambda each: (each["type"] == "view", _place(each["collection"]), each["collection"]))


def _place(name: str) -> int:
    return LAST.index(name) if name in LAST else -1


def dump(database: "Database[BSON]", contents: list[BSON], writer: Writer, progress: Progress) -> None:
    """Writes all documents of ``contents``, the collections that ``describe`` returned.

    Raises:
        StartupError: MongoDB discarded the snapshot.
    """
    client = database.client
    with client.start_session(snapshot=not is_standalone(client)) as session:
        for description in contents:
            writer.begin(description)
            if description["type"] != "view":
                in_snapshot = not description["options"].get("capped")  # capped collections have no snapshots
                _copy(database, description["collection"], session if in_snapshot else None, writer, progress)
            writer.end()
        writer.close()


def _copy(database: "Database[BSON]", name: str, session: ClientSession | None, writer: Writer, progress: Progress) -> None:
    try:
        with database[name].find_raw_batches(session=session, batch_size=BATCH) as batches:
            for batch in batches:
                writer.add(cast(bytes, batch))
                progress(name, writer.documents, writer.bytes)
    except OperationFailure as error:
        if error.code not in SNAPSHOT_LOST:
            raise
        raise StartupError(
            "MongoDB discarded the snapshot: the backup took longer than MongoDB keeps one, or an index changed. "
            f"Try again; if the backup takes long, raise {HISTORY} on the server first (setParameter)"
        ) from None


@contextmanager
def long_history(client: "MongoClient[BSON]", folder: Path) -> Iterator[None]:
    """Within the block, the embedded server of a data folder keeps snapshots for a day.

    Backups at the same time share the server's setting: each locks the folder, and the last one to end restores the setting.
    """
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
        before: Any = client.admin.command({"setParameter": 1, HISTORY: HISTORY_SECONDS})["was"]
        try:
            yield
        finally:
            usual = USUAL_HISTORY_SECONDS if before == HISTORY_SECONDS else before  # a killed backup does not restore it
            with suppress(PyMongoError, OSError):  # as long as another backup runs
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                client.admin.command({"setParameter": 1, HISTORY: usual})
    finally:
        os.close(lock)
