"""Refresh tokens as values: how they are written, and how one follows from another."""

import pytest
from bson import ObjectId

from taskapi.accounts.sessions.refresh import PREFIX, TEXT_CHARACTERS, RefreshToken

CHAIN, OTHER = b"c" * 32, b"d" * 32


def test_a_token_is_read_as_it_is_written() -> None:
    token = RefreshToken.first(ObjectId())
    text = str(token)
    assert text.startswith(PREFIX)
    assert len(text) == TEXT_CHARACTERS
    assert RefreshToken.read(text) == token
    assert RefreshToken.read(str(token.later(CHAIN, 7))) == token.later(CHAIN, 7)


def test_first_tokens_differ() -> None:
    session = ObjectId()
    assert len({RefreshToken.first(session).secret for _ in range(100)}) == 100


def test_the_chain_leads_on_by_its_key_alone() -> None:
    token = RefreshToken.first(ObjectId())
    assert token.later(CHAIN, 0) == token
    assert token.later(CHAIN).later(CHAIN) == token.later(CHAIN, 2)
    assert token.later(CHAIN, 2).generation == 2
    assert token.later(OTHER).secret != token.later(CHAIN).secret != token.secret


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: text[:-1],
        lambda text: text + "A",
        lambda text: text.replace(PREFIX, "tsk_"),
        lambda text: text.upper(),
        lambda text: text[:-1] + "!",
        lambda text: text[:-1] + "é",
        lambda text: text[:-1] + "=",
        lambda text: text[:-4] + "A===",
        lambda text: text[:10] + " " + text[11:],
    ],
)
def test_what_is_no_token_is_not_read(spoil: object) -> None:
    assert callable(spoil)
    # whose last bytes are no letters, so that upper case makes it another
    text = str(RefreshToken(ObjectId(), 0, bytes(range(100, 120))))
    assert RefreshToken.read(spoil(text)) is None
