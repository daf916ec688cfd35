"""Password hashing and access tokens, below the routes."""

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from bson import ObjectId
from jose import jwt
from passlib.hash import bcrypt

from taskapi.accounts.errors import Overloaded
from taskapi.accounts.security import access_tokens
from taskapi.accounts.security.access_tokens import PasswordHasher, TokenCodec
from taskapi.core.errors import InvalidToken
from taskapi.core.keys import Keyring
from tests.tools import PATIENCE_SECONDS

SECRET = "0123456789abcdef0123456789abcdef"
LIFETIME = timedelta(minutes=5)
USER, SESSION = ObjectId(), ObjectId()


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


async def test_excess_hashes_are_refused_without_blocking_the_loop(
    hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def slow(_: str) -> str:
        assert release.wait(PATIENCE_SECONDS)
        return "hashed"

    monkeypatch.setattr(hasher._context, "hash", slow)
    waiting = [asyncio.create_task(hasher.hash("password")) for _ in range(3)]
    await asyncio.sleep(0)  # the tasks start; were they to block, this would not return
    with pytest.raises(Overloaded):
        await hasher.hash("password")
    release.set()
    assert await asyncio.gather(*waiting) == ["hashed"] * 3
    assert await hasher.hash("password") == "hashed"


def codec(*secrets: str) -> TokenCodec:
    return TokenCodec(Keyring(secrets).signing_keys(), lifetime=LIFETIME)


def test_tokens_are_unique_and_say_whose_they_are() -> None:
    ours = codec(SECRET)
    first, second = (ours.encode(str(USER), str(SESSION), {"tasks:read", "account"}, LIFETIME) for _ in range(2))
    assert first != second
    claims = ours.read(first)
    assert (claims.user, claims.session) == (USER, SESSION)
    assert claims.scopes == {"tasks:read", "account"}
    (key,) = Keyring([SECRET]).signing_keys()
    assert jwt.get_unverified_header(first) == {"alg": "HS256", "typ": "JWT", "kid": key.kid}
    assert key.kid not in SECRET


def spellings(token: str) -> dict[str, str]:
    """Other ways to write a token, which a lenient decoder reads as the same bytes."""
    head, claims, signature = token.split(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spare = alphabet[alphabet.index(signature[-1]) ^ 1]  # 32 bytes leave two bits of the last letter unused
    return {
        "padding": f"{token}=",
        "padding of the claims": f"{head}.{claims}{'=' * (-len(claims) % 4) or '===='}.{signature}",
        "a foreign character": f"{head}.{claims}.{signature[:5]}!{signature[5:]}",
        "a newline": f"{head}.{claims}.{signature}\n",
        "spare bits": f"{head}.{claims}.{signature[:-1]}{spare}",
        "a letter that is no ASCII": f"{head}.{claims}.{signature}\u00e9",
        "half a character": f"{head}.{claims}.{signature}\ud800",
    }


@pytest.mark.parametrize("way", spellings("a.b.c"))
def test_a_token_is_written_in_one_way_alone(way: str) -> None:
    ours = codec(SECRET)
    token = ours.encode(str(USER), str(SESSION), (), LIFETIME)
    with pytest.raises(InvalidToken):
        ours.read(spellings(token)[way])
    assert ours.read(token).user == USER


def test_more_tokens_than_are_remembered_are_all_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_tokens, "REMEMBERED_TOKENS", 2)
    ours = codec(SECRET)
    users = [ObjectId() for _ in range(5)]
    tokens = [ours.encode(str(user), str(SESSION), (), LIFETIME) for user in users]
    for _ in range(2):
        assert [ours.read(token).user for token in tokens] == users


def test_the_first_key_signs_and_all_verify() -> None:
    new = SECRET[::-1]
    before = codec(SECRET).encode(str(USER), str(SESSION), (), LIFETIME)
    both = codec(new, SECRET)
    assert both.read(before).user == USER
    after = both.encode(str(USER), str(SESSION), (), LIFETIME)
    assert codec(new).read(after).user == USER
    for keys, token in ((codec(SECRET), after), (codec(new), before)):
        with pytest.raises(InvalidToken):
            keys.read(token)
