"""A receiver for each test, and a worker that the test drives itself."""

from collections.abc import AsyncIterator

import pytest

from tests.webhooks.receiver import Receiver, receiver


@pytest.fixture
async def here() -> AsyncIterator[Receiver]:
    async with receiver() as found:
        yield found
