"""The connection to MongoDB: the only module that knows the driver is Motor.

What Motor and PyMongo's own async client do differently (how a pipeline is started, how a session is opened, how
Beanie names its collection) is behind a function here or in ``snapshots``; what they share is used as it is.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pymongo
from beanie import Document
from bson.codec_options import CodecOptions, DatetimeConversion
from motor.frameworks import asyncio as motor_framework
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorClientSession, AsyncIOMotorCollection, AsyncIOMotorDatabase
from pymongo.collation import Collation
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    ExecutionTimeout,
    InvalidName,
    InvalidOperation,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
    WTimeoutError,
)
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.uri_parser import parse_uri
from pymongo.write_concern import WriteConcern

from taskapi.core.errors import (
    DamagedTask,
    DatabaseUnavailable,
    DomainError,
    QueryTimeout,
    ServerBusy,
    StartupError,
    TransactionsUnsupported,
)
from taskapi.core.settings import Settings
from taskapi.db import driver_threads, indexes

BSON = dict[str, Any]  # a document as the driver gives it
Client = AsyncIOMotorClient[BSON]
Collection = AsyncIOMotorCollection[BSON]
Session = AsyncIOMotorClientSession

Result = TypeVar("Result")
Made = TypeVar("Made")

# Times come without their zone: giving it to each costs more than decoding the rest. What cannot be decoded fails no batch.
LENIENT: Any = {"datetime_conversion": DatetimeConversion.DATETIME_AUTO, "unicode_decode_error_handler": "replace"}
CODEC: CodecOptions[Any] = CodecOptions(tz_aware=False, **LENIENT)
DURABLE = WriteConcern(w="majority", j=True)
FLEETING = WriteConcern(w=1)
INDEX_BUILD_SECONDS = 3600
TRANSACTION_SECONDS = 15
CLOSE_SECONDS = 0.5  # to tell the server which sessions end; it may be gone
HEARTBEAT_MS, CONNECT_MS = 500, 1500
GRACE_MS = 1000  # for the answer of a query that the server has cut
AUTHENTICATION_FAILED = 18
BAD_VALUE = 2
INDEX_NOT_FOUND = 27  # of a search for words, while the index of texts is built
OUT_OF_DISK_SPACE = 14031
DUPLICATE_KEY = 11000
CURSOR_NOT_FOUND, SNAPSHOT_TOO_OLD, SNAPSHOT_UNAVAILABLE = 43, 239, 246
NOT_PRIMARY = {10058, 10107, 13435}  # Server Discovery and Monitoring specification: "not writable primary"
RECOVERING = {91, 189, 11600, 11602, 13436}  # its "node is recovering", "node is shutting down" among them
UNREACHABLE = {6, 7, 89, 134, 262, 9001}  # further ones of the Retryable Reads and Retryable Writes specifications
PASSING = (
    {INDEX_NOT_FOUND, OUT_OF_DISK_SPACE, CURSOR_NOT_FOUND, SNAPSHOT_TOO_OLD, SNAPSHOT_UNAVAILABLE}
    | NOT_PRIMARY
    | RECOVERING
    | UNREACHABLE
)
UNWRITABLE = {171, 10334, 17419, 17420}  # because of what is stored: two lists in one index, or too large a document
RETRYABLE_LABELS = ("RetryableWriteError", "TransientTransactionError", "UnknownTransactionCommitResult")


def connect(settings: Settings) -> Client:
    """A client for ``settings.mongodb_uri``; it connects when first used. Options in the URI win over the defaults."""
    options: dict[str, Any] = {
        "waitQueueTimeoutMS": settings.mongodb_timeout_ms,
        "socketTimeoutMS": max(settings.mongodb_timeout_ms, settings.query_timeout_ms + GRACE_MS),
        # Each operation as a whole, but for those of ``aggregate``; the driver sends the rest as maxTimeMS.
        "timeoutMS": settings.mongodb_timeout_ms,
        # A server that says nothing for the two together is given up: what waits for it is cut, and asks another one.
        "heartbeatFrequencyMS": HEARTBEAT_MS,
        "connectTimeoutMS": min(settings.mongodb_selection_timeout_ms, CONNECT_MS),
        "maxPoolSize": settings.mongodb_pool_size,
    }
    motor_framework._EXECUTOR = driver_threads.threads  # type: ignore[assignment]  # looked up at each operation
    return make_client(AsyncIOMotorClient, settings, options)


def make_client(kind: Callable[..., Made], settings: Settings, options: dict[str, Any]) -> Made:
    """A client of the driver's class ``kind`` with these options, over which those in the URI win."""
    if settings.mongodb_uri is None:
        raise StartupError("TASKAPI_MONGODB_URI is not set")
    uri, patience = settings.mongodb_uri.get_secret_value(), settings.mongodb_selection_timeout_ms
    options = {"appname": "taskapi", "serverSelectionTimeoutMS": patience, "connectTimeoutMS": patience, **options}
    try:
        given = {name.lower() for name in parse_uri(uri)["options"]}
        return kind(uri, **{name: value for name, value in options.items() if name.lower() not in given})
    except (InvalidName, InvalidURI):  # their messages repeat parts of the URI
        raise StartupError(
            "TASKAPI_MONGODB_URI is not a valid MongoDB URI; percent-encode the user name and the password"
        ) from None
    except (PyMongoError, ValueError) as error:
        raise StartupError(f"TASKAPI_MONGODB_URI: {error}") from None


class Database:
    """One service's database: the handle that documents are bound to."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._handle: AsyncIOMotorDatabase[BSON] = client.get_database(
            name,
            codec_options=CODEC,
            read_preference=ReadPreference.PRIMARY,
            write_concern=DURABLE,
            read_concern=ReadConcern("local"),
        )

    async def bind(self, documents: Sequence[type[Document]]) -> None:
        """Points the document classes at this database and makes their indexes."""
        with pymongo.timeout(INDEX_BUILD_SECONDS):
            await indexes.bind(self._handle, documents)


@asynccontextmanager
async def opened(
    settings: Settings, documents: Sequence[type[Document]], connect: Callable[[Settings], Client] = connect
) -> AsyncIterator[Database]:
    """A database that answers, with ``documents`` bound to it and indexed; closed at the end.

    Raises:
        StartupError: it cannot be reached or refuses us, in one line with the host and the setting.
    """
    client = connect(settings)
    try:
        database = Database(client, settings.mongodb_database)
        try:
            with pymongo.timeout(settings.mongodb_selection_timeout_ms / 1000):
                await client.admin.command("ping")
            await database.bind(documents)
        except PyMongoError as error:
            raise StartupError(why_unreachable(error, settings)) from None
        yield database
    finally:
        with pymongo.timeout(CLOSE_SECONDS):
            client.close()


def why_unreachable(error: PyMongoError, settings: Settings) -> str:
    """Why the database cannot be used, in one line with the host and the setting."""
    uri = settings.mongodb_uri.get_secret_value() if settings.mongodb_uri else ""
    masked = re.sub(r"://([^:/@]*):.*@", r"://\1:***@", uri)
    if isinstance(error, OperationFailure) and error.code == AUTHENTICATION_FAILED:
        reason = "it refused the user name or password"
    elif isinstance(error, ConnectionFailure):
        reason = f"no usable server within {settings.mongodb_selection_timeout_ms / 1000:g} s"
    else:
        reason = str(error).split(", full error")[0]
    return f"MongoDB at {masked} cannot be used (TASKAPI_MONGODB_URI): {reason}"


def collection(document: type[Document]) -> Collection:
    """The collection of a document class, for queries."""
    return document.get_motor_collection()


def acknowledged(document: type[Document]) -> Collection:
    """The collection as a majority of the replica set has it: nothing of it can be lost."""
    return collection(document).with_options(read_concern=ReadConcern("majority"))


def fleeting(document: type[Document]) -> Collection:
    """The same for what a power cut may take back: its writes wait for no disk and no other member."""
    return collection(document).with_options(write_concern=FLEETING)


async def aggregate(
    document: type[Document],
    pipeline: Sequence[BSON],
    milliseconds: int,
    session: Session | None = None,
    collation: Collation | None = None,
    hint: str | None = None,
) -> list[BSON]:
    """All results of a pipeline; texts compare as ``collation`` says, by their code points without one.

    ``hint`` names the index to begin with. While there is none of that name, MongoDB chooses.

    Raises:
        ExecutionTimeout: the server took longer than ``milliseconds`` and gave up; ``translated`` knows it.
        DatabaseUnavailable: it did not even say so.
    """
    try:
        # The driver's deadline for an operation replaces maxTimeMS by what is left of it, and who is first to notice,
        # driver or server, is a matter of luck. Zero takes it off: the server cuts the query, and has time to say so.
        with pymongo.timeout(0):
            async with asyncio.timeout((milliseconds + GRACE_MS) / 1000):
                options: BSON = {"batchSize": 1000, "maxTimeMS": milliseconds, "collation": collation}
                if hint is not None:
                    options["hint"] = hint
                cursor = collection(document).aggregate(list(pipeline), session=session, **options)
                return await cursor.to_list(None)
    except TimeoutError:
        raise DatabaseUnavailable from None
    except OperationFailure as error:
        if hint is None or not lacks_index(error):
            raise
    return await aggregate(document, pipeline, milliseconds, session, collation)


def lacks_index(error: OperationFailure) -> bool:
    """Whether a query failed because its hint names no index: it has not been built yet, or an operator has dropped it."""
    return error.code == BAD_VALUE and "hint provided does not correspond to an existing index" in str(error)


def is_standalone(client: Any) -> bool:
    """Whether the server is no member of a replica set: it has no transactions and no snapshots."""
    servers = client.topology_description.server_descriptions().values()
    return any(server.server_type_name == "Standalone" for server in servers)


async def transaction(
    document: type[Document], work: Callable[[Session | None], Awaitable[Result]], *, required: bool = False
) -> Result:
    """Runs ``work`` in one transaction, again when MongoDB asks for it.

    A standalone server has no transactions; there ``work`` runs with ``None`` as its session.

    Raises:
        TransactionsUnsupported: one is ``required``, and the server is such a one.
    """
    client = collection(document).database.client
    if is_standalone(client):
        if required:
            raise TransactionsUnsupported
        return await work(None)
    try:
        # The driver would go on for two minutes. The limits hold for each operation and for all of it together.
        with pymongo.timeout(TRANSACTION_SECONDS):
            async with asyncio.timeout(TRANSACTION_SECONDS), await client.start_session() as session:
                result: Result = await session.with_transaction(work, write_concern=DURABLE)
                return result
    except TimeoutError:
        raise DatabaseUnavailable from None


def lacks_durability(error: PyMongoError) -> bool:
    """Whether a bulk write ended before a majority of the replica set had all of it."""
    return isinstance(error, BulkWriteError) and bool(error.details["writeConcernErrors"])


def translated(error: PyMongoError) -> DomainError | None:
    """What a driver's error means to a caller; None when it is a fault of ours."""
    if isinstance(error, ExecutionTimeout):
        return QueryTimeout()
    if isinstance(error, driver_threads.QueueFull):
        return ServerBusy()
    if isinstance(error, ConfigurationError):  # "sessions are not supported", as long as no server is known again
        return DatabaseUnavailable()
    if isinstance(error, (ConnectionFailure, InvalidOperation, WriteConcernError, WTimeoutError)) or lacks_durability(error):
        return DatabaseUnavailable()
    if any(error.has_error_label(label) for label in RETRYABLE_LABELS):
        return DatabaseUnavailable()
    codes = _codes(error)
    if codes & PASSING:
        return DatabaseUnavailable()
    if codes & UNWRITABLE:
        return DamagedTask()
    return None


def _codes(error: PyMongoError) -> set[int | None]:
    """The server's codes in an error: of the command, of single writes, and of the write concern."""
    if not isinstance(error, OperationFailure):
        return set()
    details = error.details or {}
    faults = [*details.get("writeErrors", ()), *details.get("writeConcernErrors", ()), details.get("writeConcernError") or {}]
    return {error.code, *(fault.get("code") for fault in faults)}
