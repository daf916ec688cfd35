"""Whatever is sent as a position to a stream is refused, begins there, or resets: never a 5xx, never a silent start anew."""

import asyncio

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.client import Account
from tests.events.listening import listening
from tests.events.positions import SENT, Sent, as_sent

pytestmark = pytest.mark.real

AT_ONCE, ROUNDS = 25, 400  # 10,000 positions


@given(sent=st.lists(SENT, min_size=AT_ONCE, max_size=AT_ONCE))
@settings(max_examples=ROUNDS, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
async def test_hostile_positions_begin_no_stream(app: FastAPI, pair: tuple[Account, Account], sent: list[Sent]) -> None:
    ada, bob = pair
    texts = await as_sent(ada, bob, sent)
    answers = await asyncio.gather(*(ada.call("HEAD", "/events/stream", params={"since": text}) for text in texts.sent))
    taken = [text for text, answer in zip(texts.sent, answers, strict=True) if answer.status_code == 200]
    assert {answer.status_code for answer in answers} <= {200, 400, 422}
    assert set(taken) <= texts.own
    for text in taken[:1]:  # the others as well, but a stream takes longer than its head
        async with listening(app, ada.headers, since=text) as stream:
            first = await stream.next()
            assert first.name in ("hello", "reset")
            # those within pages begin where the pages did
            assert first.name == "reset" or first.id == text or text in texts.within_pages
