"""What examples read: a database with its views and daily figures, and an extract of it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.database import Database

from taskapi.analytics.accounts import AnalystAccounts
from taskapi.analytics.extracts.service import Request, extract
from taskapi.db.uris import for_account
from taskapi.main import VIEWS
from tests.analytics.daily.refreshing import run as refresh
from tests.conftest import URI_VARIABLE, make_settings
from tests.leaks import keep_secret
from tests.scripts.test_scripts import run

LAST_DAY = "2026-11-01"


@dataclass(frozen=True)
class Source:
    """A database, and the folder of an extract."""

    database: Database[dict[str, Any]]
    uri: str  # of an analyst's account; it names the database
    folder: Path

    @property
    def tasks(self) -> list[dict[str, Any]]:
        return list(self.database["tasks"].find())

    def update(self, *, full: bool = False) -> None:
        """Brings the extract and the daily figures up to date."""
        refresh(self.database, full=full)
        settings = make_settings(mongodb_database=self.database.name)
        extract(settings, Request(to=self.folder, full=full), lambda done, total: None)

    def variables(self, zone: str = "UTC", last_day: str = LAST_DAY) -> dict[str, str]:
        """What an example is told."""
        return {"MONGODB_URI": self.uri, "EXTRACT": str(self.folder), "ZONE": zone, "LAST_DAY": last_day}


@contextmanager
def opened(name: str, folder: Path) -> Iterator[Source]:
    """The database of that name with an account for an analyst meanwhile, and a folder for its extract."""
    uri = os.environ[URI_VARIABLE]
    with MongoClient[dict[str, Any]](uri, tz_aware=True) as client:
        password = AnalystAccounts(client[name], uri, VIEWS).grant("analyst", on_request=False, rotate=True)
        account = for_account(uri, f"analyst:{keep_secret(password, 'password of an analyst')}", name)
        yield Source(client[name], account.replace("/?", f"/{name}?", 1), folder / "extract")
        client[name].command("dropAllUsersFromDatabase")
        client[name].command("dropAllRolesFromDatabase")


@contextmanager
def seeded(folder: Path, users: int, tasks: int) -> Iterator[Source]:
    """Meanwhile ``scripts/seed.py`` has filled a database of its own with so many users and tasks."""
    with opened(f"examples_{tasks}_{os.environ.get('PYTEST_XDIST_WORKER', 'gw')}", folder) as source:
        source.database.client.drop_database(source.database.name)
        where = ("--uri", os.environ[URI_VARIABLE], "--database", source.database.name)
        numbers = ("--users", str(users), "--tasks", str(tasks), "--seed", "7", "--last-day", LAST_DAY)
        status, said = run("seed", *where, *numbers, folder=folder)
        assert status == 0, said
        yield source
        source.database.client.drop_database(source.database.name)
