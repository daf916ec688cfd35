"""Translates errors of the driver into errors of the API."""

from collections.abc import Mapping
from typing import Any

from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    DuplicateKeyError,
    ExecutionTimeout,
    InvalidOperation,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
    WriteError,
    WTimeoutError,
)

from taskapi.core.errors import Conflict, DamagedTask, DatabaseUnavailable, DomainError, QueryTimeout, ServerBusy
from taskapi.db import driver_threads
from taskapi.db.codes import (
    CANNOT_INDEX_PARALLEL_ARRAYS,
    CURSOR_NOT_FOUND,
    DUPLICATE_KEY,
    FAILED_VALIDATION,
    INDEX_NOT_FOUND,
    KEY_NOT_FOUND,
    OUT_OF_DISK_SPACE,
    SNAPSHOT_LOST,
    TOO_LARGE,
)
from taskapi.db.validation import COLLECTION

NOT_PRIMARY = {10058, 10107, 13435}  # Server Discovery and Monitoring specification: "not writable primary"
RECOVERING = {91, 189, 11600, 11602, 13436}  # the same specification: "node is recovering", including "node is shutting down"
UNREACHABLE = {6, 7, 89, 134, 262, 9001}  # further codes of the Retryable Reads and Retryable Writes specifications
TRANSIENT = (
    {
        INDEX_NOT_FOUND,  # raised by a text search while the text index is being built
        OUT_OF_DISK_SPACE,
        KEY_NOT_FOUND,  # raised by a mongod with sign-in that has just started: it cannot verify the cluster time yet
        CURSOR_NOT_FOUND,
    }
    | SNAPSHOT_LOST
    | NOT_PRIMARY
    | RECOVERING
    | UNREACHABLE
)
UNWRITABLE = {FAILED_VALIDATION, CANNOT_INDEX_PARALLEL_ARRAYS} | TOO_LARGE  # because of the stored document
TASKS = "tasks"  # the collection, also of an error that names none: what is inserted elsewhere is never invalid
RETRYABLE_LABELS = ("RetryableWriteError", "TransientTransactionError", "UnknownTransactionCommitResult")


class DamagedDocument(Conflict):
    """MongoDB refuses a change of something other than a task."""

    code = "damaged_document"
    detail = "What this would change is stored in a damaged form that prevents the change. Have it repaired."


def lacks_durability(error: PyMongoError) -> bool:
    """Whether a bulk write was not acknowledged by a majority of the replica set."""
    return isinstance(error, BulkWriteError) and bool(error.details["writeConcernErrors"])


def to_write_error(details: Mapping[str, Any]) -> WriteError:
    """The error of one of several writes, from the ``writeErrors`` of a bulk write, as the write alone would have raised it."""
    kind = DuplicateKeyError if details["code"] == DUPLICATE_KEY else WriteError
    return kind(details["errmsg"], details["code"], {name: value for name, value in details.items() if name != "op"})


def to_domain_error(error: PyMongoError) -> DomainError | None:
    """The error to raise for a driver's error; None when the cause is a bug."""
    if isinstance(error, ExecutionTimeout):
        return QueryTimeout()
    if isinstance(error, driver_threads.QueueFull):
        return ServerBusy()
    if isinstance(error, ConfigurationError):  # "sessions are not supported", until a server is known again
        return DatabaseUnavailable()
    if isinstance(error, (ConnectionFailure, InvalidOperation, WriteConcernError, WTimeoutError)) or lacks_durability(error):
        return DatabaseUnavailable()
    if any(error.has_error_label(label) for label in RETRYABLE_LABELS):
        return DatabaseUnavailable()
    codes = _codes(error)
    if codes & TRANSIENT:
        return DatabaseUnavailable()
    if codes & UNWRITABLE:
        return DamagedTask() if getattr(error, COLLECTION, TASKS) == TASKS else DamagedDocument()
    return None


def _codes(error: PyMongoError) -> set[int | None]:
    """The server's codes in an error: of the command, of individual writes, and of the write concern."""
    if not isinstance(error, OperationFailure):
        return set()
    details = error.details or {}
    faults = [*details.get("writeErrors", ()), *details.get("writeConcernErrors", ()), details.get("writeConcernError") or {}]
    return {error.code, *(fault.get("code") for fault in faults)}
