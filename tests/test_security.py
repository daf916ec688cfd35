"""Password hashing and access tokens, below the routes."""

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from jose import jwt
from passlib.hash import bcrypt

from taskapi.errors import InvalidToken, Overloaded
from taskapi.security import SIGNATURE_BYTES, PasswordHasher, Signer, TokenCodec, derived_key

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
async def hasher() -> AsyncIterator[PasswordHasher]:
    made = PasswordHasher(memory_kib=8, rounds=1, workers=1, queue=2)
    yield made
    made.close()


async def test_a_hash_verifies_its_password_and_no_other(hasher: PasswordHasher) -> None:
    first, second = await hasher.hash("pässword 🦊"), await hasher.hash("pässword 🦊")
    assert first != second
    assert await hasher.verify("pässword 🦊", first) == (True, None)
    assert (await hasher.verify("passwort 🦊", first))[0] is False


async def test_a_hash_of_a_lower_cost_is_renewed(hasher: PasswordHasher) -> None:
    weak = await hasher.hash("password")
    stronger = PasswordHasher(memory_kib=16, rounds=2, workers=1, queue=1)
    matches, renewed = await stronger.verify("password", weak)
    stronger.close()
    assert matches
    assert renewed is not None
    assert "m=16,t=2" in renewed


@pytest.mark.parametrize("password", ["x" * 72 + "the rest was always ignored", "é" * 50])
async def test_a_long_password_matches_its_old_bcrypt_hash(hasher: PasswordHasher, password: str) -> None:
    old = bcrypt.using(rounds=4).hash(password.encode()[:72])
    matches, renewed = await hasher.verify(password, old)
    assert matches
    assert renewed is not None
    assert await hasher.verify(password, renewed) == (True, None)
    assert (await hasher.verify(password[:-1], renewed))[0] is False  # the new hash is of all of it


async def test_nobodys_password_is_checked_like_anybodys(hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    verify = hasher._context.verify

    def counted(password: str, stored: str) -> bool:
        checked.append(stored)
        return bool(verify(password, stored))

    monkeypatch.setattr(hasher._context, "verify", counted)
    known = await hasher.hash("password")
    assert await hasher.verify("wrong", known) == (False, None)
    assert await hasher.verify("wrong", None) == (False, None)
    assert len(checked) == 2
    assert checked[0].split("$")[:4] == checked[1].split("$")[:4]  # the same kind and cost


async def test_more_than_fit_are_turned_away_and_the_loop_stays_free(
    hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def slow(_: str) -> str:
        assert release.wait(10)
        return "hashed"

    monkeypatch.setattr(hasher._context, "hash", slow)
    waiting = [asyncio.create_task(hasher.hash("password")) for _ in range(3)]
    await asyncio.sleep(0)  # the tasks start; were they to block, this would not return
    with pytest.raises(Overloaded):
        await hasher.hash("password")
    release.set()
    assert await asyncio.gather(*waiting) == ["hashed"] * 3
    assert await hasher.hash("password") == "hashed"


def test_tokens_are_unique_and_name_their_subject() -> None:
    codec = TokenCodec(SECRET, lifetime=timedelta(minutes=5))
    first, second = codec.encode("someone"), codec.encode("someone")
    assert first.text != second.text
    assert first.expires_in == 300
    assert codec.subject(first.text) == codec.subject(second.text) == "someone"
    assert jwt.get_unverified_header(first.text) == {"alg": "HS256", "typ": "JWT"}


def test_another_key_does_not_fit() -> None:
    token = TokenCodec(SECRET, lifetime=timedelta(minutes=5)).encode("someone").text
    with pytest.raises(InvalidToken):
        TokenCodec(SECRET[::-1], lifetime=timedelta(minutes=5)).subject(token)


def test_a_signature_is_of_one_message_in_one_context_under_one_key() -> None:
    signer = Signer(derived_key("a secret", "one purpose"))
    signature = signer.sign(b"context", b"message")
    assert len(signature) == SIGNATURE_BYTES
    assert signer.verify(signature, b"context", b"message")
    assert not signer.verify(signature, b"contextm", b"essage")
    assert not signer.verify(signature, b"", b"contextmessage")
    assert not signer.verify(signature, b"context", b"massage")
    assert not signer.verify(signature[:-1], b"context", b"message")
    assert not Signer(derived_key("a secret", "another purpose")).verify(signature, b"context", b"message")
