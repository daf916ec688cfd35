"""How tests bring the daily figures up to date."""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from taskapi.analytics.daily.lease import RefreshLease
from taskapi.analytics.daily.service import Refreshed, refresh
from tests.conftest import URI_VARIABLE, make_settings

OVERLAP, KEPT = timedelta(minutes=5), timedelta(days=30)
Stored = Database[dict[str, Any]]


def run(database: Stored, *, full: bool = False) -> Refreshed:
    """Refreshes the figures of a database."""
    return refresh(database, OVERLAP, KEPT, lambda done, total: None, full=full)


class Killed(BaseException):
    """In place of a signal."""


def killed(database: Stored, patch: pytest.MonkeyPatch, writes: int, *, full: bool = False) -> bool:
    """Whether a refresh was killed, which happens when it has made so many writes and begins the next one."""
    left, inner = [writes], RefreshLease.renew

    def renew(lease: RefreshLease) -> None:
        if threading.current_thread() is threading.main_thread():
            if not left[0]:
                raise Killed
            left[0] -= 1
        inner(lease)

    with patch.context() as meanwhile:
        meanwhile.setattr(RefreshLease, "renew", renew)
        try:
            run(database, full=full)
        except Killed:
            return True
    return False


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
