"""What is stored by the application that a test has started last: to look at it, or to store something past the API."""

from collections.abc import Iterator
from contextlib import contextmanager

from beanie import Document

from taskapi.db.connection import Collection, Database

_databases: list[Database] = []


@contextmanager
def stored_in(database: Database) -> Iterator[None]:
    """Meanwhile ``collection`` gives those of ``database``."""
    _databases.append(database)
    try:
        yield
    finally:
        _databases.remove(database)


def collection(document: type[Document]) -> Collection:
    """The collection of a document class."""
    return _databases[-1].collection(document)
