"""A receiver for each test, and a worker that the test drives itself."""

from collections.abc import AsyncIterator

import pytest

from taskapi.core.resolver import Resolver
from taskapi.webhooks import backoff
from taskapi.webhooks.sender import WebhookSender
from tests.client import Account
from tests.tools import PATIENCE_SECONDS
from tests.webhooks.clock import Clock
from tests.webhooks.receiver import Receiver, receiver


@pytest.fixture
async def here() -> AsyncIterator[Receiver]:
    async with receiver() as found:
        yield found


@pytest.fixture
def attempt_seconds() -> float:
    """How long an attempt may take."""
    return PATIENCE_SECONDS


@pytest.fixture
async def clock(ada: Account, monkeypatch: pytest.MonkeyPatch, attempt_seconds: float) -> AsyncIterator[Clock]:
    monkeypatch.setattr(backoff, "JITTER", 0)
    async with WebhookSender(Resolver(), allow_private=True, timeout=attempt_seconds) as sender:
        yield Clock(sender)
