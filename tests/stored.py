"""The application that a test has started last: its objects, and what it stores, to look at it past the API or to change it."""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, TypeVar, cast

from beanie import Document

from taskapi.audit.recorder import AuditLog
from taskapi.audit.repository import SecurityEventRepository
from taskapi.db.connection import Collection, Database
from taskapi.db.service_state import ServiceStateDocument
from taskapi.web.services import Services

Kind = TypeVar("Kind")

BYPASS = {
    **dict.fromkeys(
        ("insert_one", "insert_many", "update_one", "update_many", "replace_one", "bulk_write"), "bypass_document_validation"
    ),
    **dict.fromkeys(("find_one_and_update", "find_one_and_replace"), "bypassDocumentValidation"),
}

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
    """The collection of a document class. What is written to it is not validated, as in a past without validators."""
    return cast(Collection, _Unvalidated(service(Database).collection(document)))


class _Unvalidated:
    """A collection whose writes pass its validator by."""

    def __init__(self, validated: Collection) -> None:
        self._validated = validated

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._validated, name)
        return partial(found, **{BYPASS[name]: True}) if name in BYPASS else found


@asynccontextmanager
async def validation_level(level: str, documents: Iterable[type[Document]]) -> AsyncIterator[None]:
    """Meanwhile the validators of the collections have this level; before and after, they are strict."""
    database = service(Database).collection(ServiceStateDocument).database
    try:
        for document in documents:
            await database.command({"collMod": document.Settings.name, "validationLevel": level})
        yield
    finally:
        for document in documents:
            await database.command({"collMod": document.Settings.name, "validationLevel": "strict"})


def audit_log(ip: str = "192.0.2.7", agent: str = "curl/8.5.0") -> AuditLog:
    """Its audit log, for a caller."""
    return AuditLog(service(SecurityEventRepository), ip, agent)
