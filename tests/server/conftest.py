"""The server that most tests here share, and the folder of one that a test starts itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

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
