"""The server that most tests here share, one with analysts, and the folder of one that a test starts itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.analysts import Mongo, grant, service_with_rows
from tests.server.process import Server, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests that leave it working: each has an account of its own there."""
    with serving(tmp_path_factory.mktemp("server") / "data") as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a server of the test's own keeps its data."""
    return tmp_path / "data"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for a module about analysts: its views have rows, and its MongoDB has a port."""
    with service_with_rows(tmp_path_factory.mktemp("analytics") / "data") as server:
        yield server


@pytest.fixture(scope="module")
def admin(service: Server) -> Iterator[Mongo]:
    """Its operator."""
    with Mongo(service.mongodb_uri) as client:
        yield client


@pytest.fixture(scope="module")
def analyst(service: Server) -> Iterator[Mongo]:
    """Its analyst Grace."""
    with Mongo(grant(service.folder, "grace")) as client:
        yield client
