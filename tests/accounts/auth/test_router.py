"""Signing in, and what a bearer token is worth."""

import hmac
import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from bson import ObjectId
from jose import jwt
from jose.utils import base64url_encode
from passlib.hash import bcrypt

from taskapi.accounts.security.access_tokens import TokenCodec
from taskapi.accounts.users.documents import UserDocument
from taskapi.core.errors import InvalidToken
from taskapi.core.keys import Keyring
from tests.client import PASSWORD, Account, is_problem, sign_in, stored_user
from tests.conftest import SECRET, another
from tests.stored import collection

Change = Callable[[dict[str, Any]], dict[str, Any]]


async def test_sign_in_gives_a_token_that_works(anonymous: httpx.AsyncClient, ada: Account) -> None:
    answer = await sign_in(anonymous, "ADA")
    assert answer.status_code == 200
    token = answer.json()
    assert set(token) == {"access_token", "token_type", "expires_in", "refresh_token", "scope"}
    assert (token["token_type"], token["expires_in"], token["scope"]) == ("bearer", 1800, "account tasks:read tasks:write")
    claims = jwt.get_unverified_claims(token["access_token"])
    assert set(claims) == {"sub", "sid", "scope", "iat", "exp", "iss", "aud", "jti", "typ"}
    assert (claims["sub"], claims["exp"] - claims["iat"]) == (ada.id, 1800)
    me = await anonymous.get("/users/me", headers={"Authorization": f"bearer {token['access_token']}"})
    assert me.json()["id"] == ada.id


@pytest.mark.parametrize("username", [" ada", "Ada ", "\tADA\u00a0\n", "ada" + " " * 997])
async def test_blanks_around_a_user_name_are_stripped(anonymous: httpx.AsyncClient, ada: Account, username: str) -> None:
    assert (await sign_in(anonymous, username)).status_code == 200


async def test_blanks_around_a_password_are_part_of_it(anonymous: httpx.AsyncClient, ada: Account) -> None:
    is_problem(await sign_in(anonymous, "ada", f"{PASSWORD} "), 401, "bad_credentials")


@pytest.mark.parametrize("username", ["", " ", "\t\n"])
async def test_blanks_are_no_user_name(anonymous: httpx.AsyncClient, ada: Account, username: str) -> None:
    assert (await sign_in(anonymous, username)).status_code in (401, 422)


@pytest.mark.parametrize(
    ("username", "password"), [("ada", "wrong password"), ("nobody", PASSWORD), ("ada", ""), ("ada", "x" * 900)]
)
async def test_unknown_and_wrong_are_answered_alike(
    anonymous: httpx.AsyncClient, ada: Account, username: str, password: str
) -> None:
    answer = await sign_in(anonymous, username, password or " ")
    is_problem(answer, 401, "bad_credentials", "Incorrect username or password")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"username": "ada"}, "password"),
        ({"password": "x"}, "username"),
        ({"username": "ada\x00", "password": "x"}, "username"),
        ({"username": "ada", "password": "x\x00"}, "password"),
        ({"username": "ada", "password": "x", "grant_type": "client_credentials"}, "grant_type"),
    ],
)
async def test_a_form_without_its_fields_is_refused(anonymous: httpx.AsyncClient, form: dict[str, str], field: str) -> None:
    body = is_problem(await anonymous.post("/token", data=form), 422, "validation_error")
    assert [fault["field"] for fault in body["details"]] == [field]


async def test_oauth2_form_of_the_docs_page_is_accepted(anonymous: httpx.AsyncClient, ada: Account) -> None:
    form = {"grant_type": "password", "username": "ada", "password": PASSWORD, "scope": "", "client_id": "", "client_secret": ""}
    assert (await anonymous.post("/token", data=form)).status_code == 200


async def test_json_and_multipart_sign_ins_are_unsupported_media(anonymous: httpx.AsyncClient) -> None:
    form = {"username": "ada", "password": PASSWORD}
    is_problem(await anonymous.post("/token", json=form), 415, "unsupported_media_type")
    is_problem(await anonymous.post("/token", files={"username": b"ada", "password": b"x"}), 415, "unsupported_media_type")


async def test_disabled_account_cannot_sign_in_or_use_tokens(anonymous: httpx.AsyncClient, ada: Account) -> None:
    assert (await ada.get("/users/me")).status_code == 200
    await collection(UserDocument).update_one({"_id": ObjectId(ada.id)}, {"$set": {"disabled": True}})
    is_problem(await sign_in(anonymous, "ada"), 400, "inactive_user", "Inactive user")
    is_problem(await sign_in(anonymous, "ada", "wrong password"), 401, "bad_credentials")
    is_problem(await ada.get("/users/me"), 401, "invalid_token")
    is_problem(await ada.get("/tasks"), 401, "invalid_token")


async def test_a_deleted_accounts_token_ends(ada: Account) -> None:
    await collection(UserDocument).delete_one({"_id": ObjectId(ada.id)})
    is_problem(await ada.post("/tasks", json={"title": "A ghost's"}), 401, "invalid_token")


async def test_bcrypt_hashes_are_taken_and_replaced(anonymous: httpx.AsyncClient, ada: Account) -> None:
    old = bcrypt.using(rounds=4).hash(PASSWORD)
    await collection(UserDocument).update_one({"_id": ObjectId(ada.id)}, {"$set": {"password_hash": old}})
    is_problem(await sign_in(anonymous, "ada", "wrong password"), 401, "bad_credentials")
    assert (await stored_user(ada.id))["password_hash"] == old
    assert (await sign_in(anonymous, "ada")).status_code == 200
    assert (await stored_user(ada.id))["password_hash"].startswith("$argon2id$")
    assert (await sign_in(anonymous, "ada")).status_code == 200


@pytest.mark.real
async def test_sign_in_replaces_hash_of_another_cost(ada: Account) -> None:
    assert "m=8,t=1" in (await stored_user(ada.id))["password_hash"]
    async with another(argon2_memory_kib=16, argon2_rounds=2) as dearer:
        is_problem(await sign_in(dearer, "ada", "wrong password"), 401, "bad_credentials")
        assert "m=8,t=1" in (await stored_user(ada.id))["password_hash"]
        assert (await sign_in(dearer, "ada")).status_code == 200
        renewed = (await stored_user(ada.id))["password_hash"]
        assert "m=16,t=2" in renewed
        assert (await sign_in(dearer, "ada")).status_code == 200
        assert (await stored_user(ada.id))["password_hash"] == renewed


def signed(claims: dict[str, Any], secret: str = SECRET, algorithm: str = "HS256") -> str:
    (key,) = Keyring([SECRET]).signing_keys()
    return jwt.encode(claims, secret, algorithm, headers={"kid": key.kid})


def claims_of(ada: Account) -> dict[str, Any]:
    return dict(jwt.get_unverified_claims(ada.token))


def without(name: str) -> Change:
    return lambda claims: {key: value for key, value in claims.items() if key != name}


def with_(**values: Any) -> Change:
    return lambda claims: {**claims, **values}


@pytest.mark.parametrize(
    "change",
    [
        *(without(name) for name in ("sub", "sid", "scope", "iat", "exp", "iss", "aud", "jti", "typ")),
        with_(exp=int(time.time()) - 1),
        with_(exp="never"),
        with_(exp=time.time() + 1e9),
        with_(iat=int(time.time()) + 3600),
        with_(iat="now"),
        with_(nbf=int(time.time()) + 3600),
        with_(iss="somebody-else"),
        with_(aud="another-service"),
        with_(typ="refresh"),
        with_(sub="not an id"),
        with_(sub="65f1a2b3c4d5e6f708192a3b"),
        with_(sub=7),
        with_(sub={"$ne": None}),
        with_(jti=1),
        with_(sid="65f1a2b3c4d5e6f708192a3b"),
        with_(sid="not an id"),
        with_(sid=["65f1a2b3c4d5e6f708192a3b"]),
        with_(scope=["account"]),
    ],
)
async def test_every_claim_counts(ada: Account, anonymous: httpx.AsyncClient, change: Change) -> None:
    genuine = signed(claims_of(ada))
    assert (await anonymous.get("/users/me", headers={"Authorization": f"Bearer {genuine}"})).status_code == 200
    token = signed(change(claims_of(ada)))
    answer = await anonymous.get("/users/me", headers={"Authorization": f"Bearer {token}"})
    is_problem(answer, 401, "invalid_token", "Could not validate credentials")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_prefix_of_the_algorithm_name_is_refused(ada: Account) -> None:
    (key,) = Keyring([SECRET]).signing_keys()
    header, payload = (base64url_encode(json.dumps(part).encode()) for part in ({"alg": "HS2", "kid": key.kid}, claims_of(ada)))
    signature = base64url_encode(hmac.digest(SECRET.encode(), header + b"." + payload, "sha256"))
    with pytest.raises(InvalidToken):
        TokenCodec([key], lifetime=timedelta(minutes=1)).read(b".".join([header, payload, signature]).decode())


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
async def test_the_algorithm_is_pinned(ada: Account, anonymous: httpx.AsyncClient, algorithm: str) -> None:
    token = signed(claims_of(ada), algorithm=algorithm)
    is_problem(await anonymous.get("/users/me", headers={"Authorization": f"Bearer {token}"}), 401, "invalid_token")


async def test_forged_and_broken_tokens_are_refused(ada: Account, anonymous: httpx.AsyncClient) -> None:
    header, payload, signature = ada.token.split(".")
    unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0"  # {"alg":"none","typ":"JWT"}
    another_key = signed(claims_of(ada), SECRET + "x")
    forged = [
        f"{unsigned}.{payload}.",
        f"{unsigned}.{payload}.{signature}",
        f"{header}.{payload}.",
        f"{header}.{payload}",
        "a.b.c",
    ]
    no_kid, unknown_kid = (jwt.encode(claims_of(ada), SECRET, "HS256", headers=more) for more in ({}, {"kid": "00000000"}))
    for token in (*forged, another_key, no_kid, unknown_kid, "null", "." * 10, "x" * 10_000, ada.token + "A", ada.token[:-2]):
        answer = await anonymous.get("/users/me", headers={"Authorization": f"Bearer {token}"})
        is_problem(answer, 401, "invalid_token")


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic YWRhOng=", "Token abc"])
async def test_no_bearer_token_is_not_authenticated(anonymous: httpx.AsyncClient, value: str) -> None:
    is_problem(await anonymous.get("/tasks", headers={"Authorization": value}), 401, "not_authenticated")


async def test_expired_token_is_refused_after_it_worked(ada: Account, anonymous: httpx.AsyncClient) -> None:
    expiry = int(time.time()) + 2
    token = signed({**claims_of(ada), "exp": expiry})
    headers = {"Authorization": f"Bearer {token}"}
    statuses = []
    while time.time() < expiry + 0.1:
        statuses.append((await anonymous.get("/users/me", headers=headers)).status_code)
    assert (statuses[0], statuses[-1]) == (200, 401)
