"""Whatever is sent as a position is refused, or belongs to the caller: never a 500, never a silent start from the beginning."""

import asyncio
from typing import Any, NamedTuple

import httpx
import pytest
from bson import ObjectId, Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskapi.core.clock import utc_now
from taskapi.core.keys import encode_base64url
from taskapi.events.positions import Page, Position, PositionCodec
from tests.client import Account, make_account
from tests.events.copies import changes
from tests.stored import service

pytestmark = pytest.mark.real

AT_ONCE, ROUNDS = 50, 200  # 10,000 positions
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
REFUSALS = {400: "invalid_position", 410: "position_expired", 422: "validation_error"}
NOW = int(utc_now().timestamp())
MS = st.integers(-(2**62), 2**62) | st.integers(NOW * 1000 - 10**7, NOW * 1000 + 10**7)
TOKEN = st.binary(min_size=9, max_size=60).map(lambda data: data.hex().upper())
PAGES = st.none() | st.builds(Page, st.none() | MS, st.none() | MS, st.binary(min_size=12, max_size=12).map(ObjectId))
TIMES = st.builds(Timestamp, st.integers(0, 2**32 - 1) | st.integers(NOW - 3600, NOW + 3600), st.integers(0, 2**32 - 1))
GENUINE = st.builds(Position, TIMES, st.none() | TOKEN, PAGES)


class Spoil(NamedTuple):
    """What is done to a position."""

    what: str
    place: int
    letters: str

    def apply(self, text: str) -> str:
        place = self.place % (len(text) + 1)
        if self.what == "cut":
            return text[:place]
        return text[:place] + self.letters + text[place + (self.what == "changed") * len(self.letters) :]


class Sent(NamedTuple):
    """A position as it is sent: a text, or how it is made of a genuine one."""

    position: Position | str | int  # a number stands for one that the API gave
    is_own: bool = True
    spoil: Spoil | None = None


SPOILED = st.builds(
    Spoil, st.sampled_from(["cut", "longer", "changed"]), st.integers(0, 500), st.text(LETTERS, min_size=1, max_size=9)
)
TEXTS = st.text(max_size=60) | st.text(LETTERS, max_size=450) | st.binary(max_size=200).map(encode_base64url)
SENT = st.one_of(
    st.builds(Sent, TEXTS),
    st.builds(Sent, st.integers(0, 3), st.just(True), SPOILED),
    st.builds(Sent, GENUINE, st.just(False), st.none() | SPOILED),
    st.builds(Sent, GENUINE, st.just(True), st.none() | SPOILED),
)


@pytest.fixture(scope="module")
async def accounts(shared: httpx.AsyncClient) -> list[Account]:
    found = [await make_account(shared, name) for name in ("ada", "bob")]
    for account in found:
        for number in range(3):
            await account.make_task(f"Task {number}")
    return found


@given(sent=st.lists(SENT, min_size=AT_ONCE, max_size=AT_ONCE))
@settings(max_examples=ROUNDS, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
async def test_hostile_positions_are_refused(accounts: list[Account], sent: list[Sent]) -> None:
    ada, bob = accounts
    codec = service(PositionCodec)
    events, behind = await changes(ada, limit=1)
    given = [behind, *(event["id"] for event in events)]
    own, texts = set(given), []
    for each in sent:
        text = given[each.position] if isinstance(each.position, int) else each.position
        if isinstance(text, Position):
            text = codec.write(text, ObjectId((ada if each.is_own else bob).id))
            if each.is_own:
                own.add(text)
        texts.append(each.spoil.apply(text) if each.spoil else text)
    answers = await asyncio.gather(*(ada.get("/tasks/changes", params={"since": text}) for text in texts))
    for text, answer in zip(texts, answers, strict=True):
        body: dict[str, Any] = answer.json()
        if answer.status_code in REFUSALS:
            assert body["error"] == REFUSALS[answer.status_code]
        else:
            assert (answer.status_code, text in own) == (200, True), (text, answer.text)
            assert {event["task"]["owner"]["id"] for event in body["changes"]} <= {ada.id}
