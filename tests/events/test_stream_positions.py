"""Whatever is sent as a position to a stream is refused, begins there, or resets: never a 5xx, never a silent start anew."""

import asyncio

import httpx
import pytest
from bson import ObjectId
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskapi.events.positions import Position, PositionCodec
from tests.client import Account, make_account
from tests.events.copies import changes
from tests.events.listening import listening
from tests.events.test_delta_positions import SENT, Sent
from tests.stored import service

pytestmark = pytest.mark.real

AT_ONCE, ROUNDS = 25, 400  # 10,000 positions


@pytest.fixture(scope="module")
async def listeners(shared: httpx.AsyncClient) -> list[Account]:
    found = [await make_account(shared, name) for name in ("ada", "bob")]
    for account in found:
        for number in range(3):
            await account.make_task(f"Task {number}")
    return found


@given(sent=st.lists(SENT, min_size=AT_ONCE, max_size=AT_ONCE))
@settings(max_examples=ROUNDS, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
async def test_hostile_positions_begin_no_stream(app: FastAPI, listeners: list[Account], sent: list[Sent]) -> None:
    ada, bob = listeners
    codec = service(PositionCodec)
    events, behind = await changes(ada, limit=1)
    known = [behind, *(event["id"] for event in events)]
    own, within_pages, texts = set(known), {behind}, list[str]()
    for each in sent:
        text = known[each.position % len(known)] if isinstance(each.position, int) else str(each.position)
        if isinstance(each.position, Position):
            text = codec.write(each.position, ObjectId((ada if each.is_own else bob).id))
            if each.is_own:
                own.add(text)
                if each.position.page is not None:
                    within_pages.add(text)
        texts.append(each.spoil.apply(text) if each.spoil else text)
    answers = await asyncio.gather(*(ada.call("HEAD", "/events/stream", params={"since": text}) for text in texts))
    taken = [text for text, answer in zip(texts, answers, strict=True) if answer.status_code == 200]
    assert {answer.status_code for answer in answers} <= {200, 400, 422}
    assert set(taken) <= own
    for text in taken[:1]:  # the others as well, but a stream takes longer than its head
        async with listening(app, ada.headers, since=text) as stream:
            first = await stream.next()
            assert first.name in ("hello", "reset")
            assert first.name == "reset" or first.id == text or text in within_pages  # those begin where the pages did
