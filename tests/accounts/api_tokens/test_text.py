"""How an API token is written."""

import hashlib
import re

import pytest

from taskapi.accounts.api_tokens.text import hash_of, new_token

KNOWN = f"tsk_{30 * '0'}2C8GjS"


def test_each_token_is_new_and_of_one_form() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(re.fullmatch(r"tsk_[0-9A-Za-z]{36}", token) for token in tokens)
    assert len({hash_of(token) for token in tokens}) == 100


def test_the_form_stays_what_scanners_know() -> None:
    assert hash_of(KNOWN) == hashlib.sha256(KNOWN.encode()).digest()


@pytest.mark.parametrize("place", range(4, 40))
def test_one_wrong_character_anywhere_is_seen(place: int) -> None:
    token = new_token()
    other = "a" if token[place] != "a" else "b"
    assert hash_of(token[:place] + other + token[place + 1 :]) is None


def test_what_is_no_token_has_no_hash() -> None:
    token = new_token()
    wrong = ["", "tsk_", token[:-1], f"{token}0", token.upper(), f"tsr_{token[4:]}", f"{token}\n", f" {token}", f"tsk_{36 * 'é'}"]
    assert [hash_of(text) for text in wrong] == [None] * len(wrong)
