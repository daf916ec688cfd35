"""A database that ``scripts/seed.py`` has filled."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.database import Database

from tests.conftest import URI_VARIABLE
from tests.scripts.test_scripts import run

LAST_DAY = "2026-11-01"


@dataclass(frozen=True)
class Seeded:
    """Such a database, and the address that names it."""

    uri: str
    database: Database[dict[str, Any]]

    @property
    def tasks(self) -> list[dict[str, Any]]:
        return list(self.database["tasks"].find())

    def variables(self, zone: str = "UTC", last_day: str = LAST_DAY) -> dict[str, str]:
        """What an example is told."""
        return {"TASKAPI_ANALYTICS_URI": self.uri, "ZONE": zone, "LAST_DAY": last_day}


def name_database(uri: str, database: str) -> str:
    """The address with the name of a database in it."""
    return uri.replace("/?", f"/{database}?", 1)


@contextmanager
def seeded(folder: Path, users: int, tasks: int) -> Iterator[Seeded]:
    """Meanwhile there is a database of its own with so many users and tasks."""
    uri, name = os.environ[URI_VARIABLE], f"examples_{tasks}_{os.environ.get('PYTEST_XDIST_WORKER', 'gw')}"
    numbers = ("--users", str(users), "--tasks", str(tasks), "--seed", "7", "--last-day", LAST_DAY)
    with MongoClient[dict[str, Any]](uri, tz_aware=True) as client:
        client.drop_database(name)
        status, said = run("seed", "--uri", uri, "--database", name, *numbers, folder=folder)
        assert status == 0, said
        yield Seeded(name_database(uri, name), client[name])
        client.drop_database(name)
