"""What the accounts are made of: their repositories and services, made once for an application from its database."""

from collections.abc import Iterator

from taskapi.accounts.users.email_repository import EmailRepository
from taskapi.accounts.users.repository import UserRepository
from taskapi.db.connection import Database


def wire(database: Database) -> Iterator[object]:
    """The repositories and services of accounts, one object of each class."""
    yield UserRepository(database)
    yield EmailRepository(database)
