"""Whatever is sent as a position is refused, or belongs to the caller: never a 500, never a silent start from the beginning."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.client import Account
from tests.events.positions import SENT, Sent, as_sent

pytestmark = pytest.mark.real

AT_ONCE, ROUNDS = 50, 200  # 10,000 positions
REFUSALS = {400: "invalid_position", 410: "position_expired", 422: "validation_error"}


@given(sent=st.lists(SENT, min_size=AT_ONCE, max_size=AT_ONCE))
@settings(max_examples=ROUNDS, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
async def test_hostile_positions_are_refused(pair: tuple[Account, Account], sent: list[Sent]) -> None:
    ada, bob = pair
    texts = await as_sent(ada, bob, sent)
    answers = await asyncio.gather(*(ada.get("/tasks/changes", params={"since": text}) for text in texts.sent))
    for text, answer in zip(texts.sent, answers, strict=True):
        body: dict[str, Any] = answer.json()
        if answer.status_code in REFUSALS:
            assert body["error"] == REFUSALS[answer.status_code]
        else:
            assert (answer.status_code, text in texts.own) == (200, True), (text, answer.text)
            assert {event["task"]["owner"]["id"] for event in body["changes"]} <= {ada.id}
