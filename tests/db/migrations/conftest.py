"""A database of its own for each test, and the service's way to use it."""

import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pymongo import MongoClient

from taskapi.db.connection import Database, connect, open_database
from tests.conftest import URI_VARIABLE, make_settings

Store = Any  # PyMongo's handle of that database


async def leave(_: Database) -> None:
    """Prepares nothing."""


@pytest.fixture
def store() -> Any:
    """The database as a script sees it, empty."""
    name = f"test_{os.environ.get('PYTEST_XDIST_WORKER', 'gw')}_migrations"
    with MongoClient[dict[str, Any]](os.environ[URI_VARIABLE], tz_aware=True) as client:
        client.drop_database(name)
        yield client[name]
        client.drop_database(name)


@pytest.fixture
async def database(store: Store) -> AsyncIterator[Database]:
    """The same database as the service sees it."""
    async with open_database(make_settings(mongodb_database=store.name), leave, connect) as opened:
        yield opened
