"""The application that a test has started last: its objects, and what it stores, to look at it past the API or to change it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from beanie import Document

from taskapi.audit.recorder import AuditLog
from taskapi.audit.repository import SecurityEventRepository
from taskapi.db.connection import Collection, Database
from taskapi.web.services import Services

Kind = TypeVar("Kind")

_started: list[Services] = []


@contextmanager
def stored_in(services: Services) -> Iterator[None]:
    """Meanwhile ``collection`` gives those of this application."""
    _started.append(services)
    try:
        yield
    finally:
        _started.remove(services)


def started() -> Services:
    """The objects of the application."""
    return _started[-1]


def service(kind: type[Kind]) -> Kind:
    """Its object of this class."""
    return started()[kind]


def collection(document: type[Document]) -> Collection:
    """The collection of a document class."""
    return service(Database).collection(document)


def audit_log(ip: str = "192.0.2.7", agent: str = "curl/8.5.0") -> AuditLog:
    """Its audit log, for a caller."""
    return AuditLog(service(SecurityEventRepository), ip, agent)
