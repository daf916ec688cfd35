"""The database whose tasks are counted."""

from collections.abc import Iterator

import pytest

from tests.analytics.daily.refreshing import Stored, opened


@pytest.fixture(scope="module")
def database() -> Iterator[Stored]:
    """The database of this worker, for a script."""
    with opened() as found:
        yield found
