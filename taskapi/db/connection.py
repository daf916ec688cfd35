"""The connection to MongoDB: the only module that imports Motor.

What Motor and PyMongo's own async client do differently (how a pipeline is started, how a session is opened, how
Beanie names its collection) is behind a function here or in ``snapshots``; what they share is used directly.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pymongo
from beanie import Document
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument
from motor.frameworks import asyncio as motor_framework
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorClientSession, AsyncIOMotorCollection, AsyncIOMotorDatabase
from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.uri_parser import parse_uri
from pymongo.write_concern import WriteConcern

from taskapi.core.errors import StartupError
from taskapi.core.settings import Settings
from taskapi.db import driver_threads, indexes, uris, validation, views
from taskapi.db.codes import AUTHENTICATION_FAILED, UNAUTHORIZED
from taskapi.db.early_connections import EarlyConnections
from taskapi.db.indexes import IndexDrift
from taskapi.db.validation import ValidatorDrift
from taskapi.db.views import View, ViewDrift

BSON = dict[str, Any]  # a document as the driver returns it
Client = AsyncIOMotorClient[BSON]
CollectionOf = AsyncIOMotorCollection
Collection = CollectionOf[BSON]
RawCollection = CollectionOf[RawBSONDocument]  # its documents are decoded where they are used
Session = AsyncIOMotorClientSession

AnyClient = TypeVar("AnyClient")

# Times are naive: adding the zone costs more than decoding the rest. A value that cannot be decoded does not fail its batch.
LENIENT: Any = {"datetime_conversion": DatetimeConversion.DATETIME_AUTO, "unicode_decode_error_handler": "replace"}
CODEC: CodecOptions[Any] = CodecOptions(tz_aware=False, **LENIENT)
UNDECODED: CodecOptions[Any] = CODEC.with_options(document_class=RawBSONDocument)
DURABLE = WriteConcern(w="majority", j=True)
RELAXED = WriteConcern(w=1)
INDEX_BUILD_SECONDS = 3600
CLOSE_SECONDS = 0.5  # to tell the server which sessions end; it may be unreachable
HEARTBEAT_MS, CONNECT_MS = 500, 1500
GRACE_MS = 1000  # for the server's answer after it has aborted a query


def connect(settings: Settings) -> Client:
    """A client for ``settings.mongodb_uri``; it connects when first used. Options in the URI take precedence."""
    options: dict[str, Any] = {
        "waitQueueTimeoutMS": settings.mongodb_timeout_ms,
        "socketTimeoutMS": max(settings.mongodb_timeout_ms, settings.query_timeout_ms + GRACE_MS),
        # For each operation as a whole, except those of ``aggregate``; the driver sends what is left of it as maxTimeMS.
        "timeoutMS": settings.mongodb_timeout_ms,
        # A server that is silent for the sum of these two counts as down: operations that wait for it fail over.
        "heartbeatFrequencyMS": HEARTBEAT_MS,
        "connectTimeoutMS": min(settings.mongodb_selection_timeout_ms, CONNECT_MS),
        "maxPoolSize": settings.mongodb_pool_size,
        "event_listeners": [early := EarlyConnections()],
    }
    motor_framework._EXECUTOR = driver_threads.threads  # type: ignore[assignment]  # looked up at each operation
    client = make_client(AsyncIOMotorClient, settings, options)
    early.replace(client.delegate)
    return client


def make_client(kind: Callable[..., AnyClient], settings: Settings, options: dict[str, Any]) -> AnyClient:
    """A client of the driver's class ``kind`` with these options. Options in the URI take precedence."""
    if settings.mongodb_uri is None:
        raise StartupError("TASKAPI_MONGODB_URI is not set")
    uri, patience = settings.mongodb_uri.get_secret_value(), settings.mongodb_selection_timeout_ms
    options = {"appname": "taskapi", "serverSelectionTimeoutMS": patience, "connectTimeoutMS": patience, **options}
    with uris.explained():
        given = {name.lower() for name in parse_uri(uri)["options"]}
        return kind(uri, **{name: value for name, value in options.items() if name.lower() not in given})


class Database:
    """The database of one application, which holds the collections of its documents."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._handle: AsyncIOMotorDatabase[BSON] = client.get_database(
            name,
            codec_options=CODEC,
            read_preference=ReadPreference.PRIMARY,
            write_concern=DURABLE,
            read_concern=ReadConcern("local"),
        )

    @property
    def name(self) -> str:
        """The name of the database."""
        return str(self._handle.name)

    def collection(self, document: type[Document]) -> Collection:
        """The collection that holds documents of this class."""
        return self._handle.get_collection(document.Settings.name)

    async def create_collections(self, documents: Iterable[type[Document]]) -> None:
        """Creates the collections that are missing, with their validators, and the indexes that the documents declare."""
        with pymongo.timeout(INDEX_BUILD_SECONDS):
            await validation.create_missing(self._handle, documents)
            for document in documents:
                await indexes.create_missing(self.collection(document), document)

    async def compare_indexes(self, documents: Iterable[type[Document]]) -> list[IndexDrift]:
        """The indexes that differ from what the documents declare."""
        return [drift for document in documents for drift in await indexes.compare(self.collection(document), document)]

    async def repair_indexes(self, documents: Iterable[type[Document]]) -> list[IndexDrift]:
        """Replaces the indexes that have another definition or name than declared. Returns them."""
        with pymongo.timeout(INDEX_BUILD_SECONDS):
            return [drift for document in documents for drift in await indexes.repair(self.collection(document), document)]

    async def compare_validators(self, documents: Iterable[type[Document]], *, lenient: bool) -> list[ValidatorDrift]:
        """The collections whose validators differ from those of the documents."""
        return await validation.compare(self._handle, documents, lenient=lenient)

    async def repair_validators(self, documents: Sequence[type[Document]], *, lenient: bool) -> None:
        """Gives the collections that differ their validators. Without ``lenient``, makes those strict that can be."""
        await validation.repair(self._handle, documents, lenient=lenient)
        if not lenient:
            await validation.tighten(self._handle, documents)

    async def loosen_validators(self, documents: Sequence[type[Document]]) -> None:
        """Has MongoDB let invalid documents be changed, until ``repair_validators`` makes the collections strict again."""
        await validation.loosen(self._handle, documents)

    async def drop_former_indexes(self, documents: Iterable[type[Document]]) -> None:
        """Drops the indexes of earlier versions."""
        for document in documents:
            await indexes.drop_former(self.collection(document), document)

    async def create_views(self, declared: Sequence[View]) -> None:
        """Creates the views that are missing."""
        await views.create_missing(self._handle, declared)

    async def compare_views(self, declared: Sequence[View], former: Iterable[str] = ()) -> list[ViewDrift]:
        """The views that differ from the declared ones, and those of earlier versions."""
        return await views.compare(self._handle, declared, former)

    async def repair_views(self, declared: Sequence[View]) -> None:
        """Creates the views that are missing, and changes those that differ."""
        await views.repair(self._handle, declared)

    async def drop_former_views(self, former: Iterable[str]) -> None:
        """Drops the views of earlier versions."""
        await views.drop_former(self._handle, former)


@asynccontextmanager
async def open_database(
    settings: Settings, prepare: Callable[[Database], Awaitable[None]], connect: Callable[[Settings], Client] = connect
) -> AsyncIterator[Database]:
    """Connects to the database, calls ``prepare``, and closes the connection at the end of the block.

    Raises:
        StartupError: the server cannot be reached, or refuses the user; one line with the host and the setting.
    """
    client = connect(settings)
    try:
        database = Database(client, settings.mongodb_database)
        try:
            with pymongo.timeout(settings.mongodb_selection_timeout_ms / 1000):
                await client.admin.command("ping")
            await prepare(database)
        except PyMongoError as error:
            raise StartupError(why_unreachable(error, settings)) from None
        yield database
    finally:
        with pymongo.timeout(CLOSE_SECONDS):
            client.close()


def why_unreachable(error: PyMongoError, settings: Settings) -> str:
    """Why the database cannot be used, in one line with the host and the setting."""
    uri = settings.mongodb_uri.get_secret_value() if settings.mongodb_uri else ""
    if isinstance(error, OperationFailure) and error.code == AUTHENTICATION_FAILED:
        reason = "it refused the user name or password"
    elif isinstance(error, OperationFailure) and error.code == UNAUTHORIZED:  # the server's message repeats the whole command
        reason = f"its user lacks a right on the database {settings.mongodb_database}; grant the role readWrite"
    elif isinstance(error, ConnectionFailure):
        reason = f"no usable server within {settings.mongodb_selection_timeout_ms / 1000:g} s"
    else:
        reason = str(error).split(", full error")[0]
    return f"MongoDB at {uris.mask_secrets(uri)} cannot be used (TASKAPI_MONGODB_URI): {reason}"


def acknowledged(collection: Collection) -> Collection:
    """The collection with read concern ``majority``: only data that cannot be rolled back."""
    return collection.with_options(read_concern=ReadConcern("majority"))


def relaxed_writes(collection: Collection) -> Collection:
    """The collection with write concern ``w=1``: faster, but a crash may lose the latest writes."""
    return collection.with_options(write_concern=RELAXED)


def driver_collection(collection: Collection) -> "pymongo.collection.Collection[BSON]":
    """PyMongo's own collection, whose methods block: for threads that are not Motor's."""
    same: pymongo.collection.Collection[BSON] = collection.delegate
    return same


def undecoded(collection: Collection) -> RawCollection:
    """The collection with documents that the driver does not decode: see ``raw``."""
    same: RawCollection = collection.with_options(codec_options=UNDECODED)  # type: ignore[assignment]
    return same
