"""How tests bring the daily figures up to date."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from pymongo import MongoClient
from pymongo.database import Database

from taskapi.analytics.daily.service import Refreshed, refresh
from tests.conftest import URI_VARIABLE, make_settings

OVERLAP, KEPT = timedelta(minutes=5), timedelta(days=30)
Stored = Database[dict[str, Any]]


def run(database: Stored, *, full: bool = False) -> Refreshed:
    """Refreshes the figures of a database."""
    return refresh(database, OVERLAP, KEPT, lambda done, total: None, full=full)


@contextmanager
def opened() -> Iterator[Stored]:
    """The database of this worker, for a script."""
    with MongoClient[dict[str, Any]](os.environ[URI_VARIABLE], tz_aware=True) as client:
        yield client[make_settings().mongodb_database]


async def refreshed() -> None:
    """Refreshes the figures of the database of this worker."""

    def work() -> None:
        with opened() as database:
            run(database)

    await asyncio.to_thread(work)
