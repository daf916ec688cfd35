"""A connection for commands that read or write one thing after the other, with PyMongo's blocking client."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pymongo
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference

from taskapi.core.errors import StartupError
from taskapi.core.settings import Settings
from taskapi.db import connection
from taskapi.db.codes import UNAUTHORIZED
from taskapi.db.connection import BSON


@contextmanager
def connected(settings: Settings, seconds: int) -> Iterator["Database[BSON]"]:
    """The configured database for the block; the server may take ``seconds`` for one operation or batch.

    Raises:
        StartupError: MongoDB cannot be used, or fails within the block; one line that says why.
    """
    options: dict[str, Any] = {"socketTimeoutMS": seconds * 1000, "retryReads": True}
    # A timeout in the URI would apply to all batches of a cursor together.
    with connection.make_client(MongoClient[BSON], settings, options) as client, pymongo.timeout(0):
        try:
            client.admin.command("ping")
        except PyMongoError as error:
            raise StartupError(connection.why_unreachable(error, settings)) from None
        try:
            yield client.get_database(
                settings.mongodb_database,
                read_preference=ReadPreference.PRIMARY,
                read_concern=ReadConcern(),
                write_concern=connection.DURABLE,
            )
        except PyMongoError as error:
            raise StartupError(why(error)) from None


def why(error: BaseException) -> str:
    """The reason for a failure, in a few words, without the server's message, which may contain stored data."""
    if isinstance(error, OperationFailure) and error.code == UNAUTHORIZED:
        return "the user of MongoDB lacks a right: grant the role readWrite, and dbAdmin to change validators"
    if isinstance(error, OperationFailure):
        return f"MongoDB refused: {(error.details or {}).get('codeName') or f'error {error.code}'}"
    if isinstance(error, PyMongoError):
        return f"MongoDB: {type(error).__name__}"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
