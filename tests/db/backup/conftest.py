"""Two databases of the test server beside that of the suite: one to back up, one to restore into."""

import io
import os
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from taskapi.core.settings import Settings
from taskapi.db.backup import service
from taskapi.db.backup.service import Report
from tests.conftest import URI_VARIABLE, make_settings

Store = Database[dict[str, Any]]


class Said(list[str]):
    """What was said. ``at`` is called at each word of progress, with the collection."""

    def at(self, collection: str) -> None:
        pass

    def report(self) -> Report:
        return Report(self.append, lambda collection, _, __: self.at(collection))


def settings_for(store: Store, **changes: Any) -> Settings:
    return make_settings(mongodb_database=store.name, **changes)


def back_up(store: Store, said: Said | None = None, *, with_keys: bool = False, **changes: Any) -> io.BytesIO:
    said, sink = Said() if said is None else said, io.BytesIO()
    said += service.back_up(settings_for(store, **changes), sink, said.report(), with_keys=with_keys)
    sink.seek(0)
    return sink


def restore(store: Store, file: io.BytesIO, said: Said | None = None, *, drop: bool = False, **changes: Any) -> None:
    file.seek(0)
    service.restore(settings_for(store, **changes), file, (Said() if said is None else said).report(), drop=drop)


@pytest.fixture(scope="session")
def mongodb(is_mock: bool) -> Iterator[MongoClient[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](os.environ[URI_VARIABLE]) as client:
        yield client


def _emptied(client: MongoClient[dict[str, Any]], name: str) -> Store:
    name = f"test_{os.environ.get('PYTEST_XDIST_WORKER', 'gw')}_{name}"
    client.drop_database(name)
    return client[name]


@pytest.fixture
def source(mongodb: MongoClient[dict[str, Any]]) -> Store:
    """An empty database to fill and back up."""
    return _emptied(mongodb, "source")


@pytest.fixture
def target(mongodb: MongoClient[dict[str, Any]]) -> Store:
    """An empty database to restore into."""
    return _emptied(mongodb, "target")
