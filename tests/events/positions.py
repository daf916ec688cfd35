"""What hostile callers send as positions: texts, spoiled positions, those of others, and genuine ones that nobody was given."""

from collections.abc import Sequence
from typing import NamedTuple

from bson import ObjectId, Timestamp
from hypothesis import strategies as st

from taskapi.core.clock import utc_now
from taskapi.core.keys import encode_base64url
from taskapi.events.positions import Page, Position, PositionCodec
from tests.client import Account
from tests.events.copies import changes
from tests.stored import service

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
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


class Texts(NamedTuple):
    """Positions as one account sends them, and those among them that are its own."""

    sent: list[str]
    own: set[str]
    within_pages: set[str]


async def as_sent(mine: Account, other: Account, sent: Sequence[Sent]) -> Texts:
    """The positions as ``mine`` sends them. Those that are not its own are of ``other``."""
    codec = service(PositionCodec)
    events, behind = await changes(mine, limit=1)
    known = [behind, *(event["id"] for event in events)]
    texts = Texts([], set(known), {behind})
    for each in sent:
        text = known[each.position] if isinstance(each.position, int) else str(each.position)
        if isinstance(each.position, Position):
            text = codec.write(each.position, ObjectId((mine if each.is_own else other).id))
            if each.is_own:
                texts.own.add(text)
                if each.position.page is not None:
                    texts.within_pages.add(text)
        texts.sent.append(each.spoil.apply(text) if each.spoil else text)
    return texts
