"""Reading security events."""

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from bson import ObjectId

from taskapi.audit.documents import SecurityEventDocument
from taskapi.core.clock import utc_now
from taskapi.db.shapes import validate
from tests.client import PASSWORD, Account, is_problem, make_admin, sign_in, wrong_fields
from tests.conftest import another
from tests.stored import collection

FIELDS = {"id", "at", "kind", "outcome", "user", "by", "address", "agent", "request_id", "details"}


@pytest.fixture
async def root(anonymous: httpx.AsyncClient) -> Account:
    """An admin, some seconds after whose beginnings the test starts."""
    account = await make_admin(anonymous, "root")
    await collection(SecurityEventDocument).delete_many({})
    return account


async def events(account: Account, path: str = "/users/me/events") -> list[dict[str, Any]]:
    answer = await account.get(path)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


async def test_trusted_proxies_name_the_address(ada: Account) -> None:
    form = {"username": "ADA", "password": "not this"}
    is_problem(await ada.client.post("/token", data=form, headers={"X-Forwarded-For": "203.0.113.9"}), 401, "bad_credentials")
    assert (await events(ada))[0]["address"] == "203.0.113.9"


async def test_events_of_an_account_are_listed_newest_first(ada: Account, bob: Account) -> None:
    failed = await ada.client.post(
        "/token", data={"username": "ADA", "password": "not this"}, headers={"X-Request-ID": "abc", "User-Agent": "Ada's script"}
    )
    is_problem(failed, 401, "bad_credentials")
    first, *others = await events(ada)
    assert set(first) == FIELDS
    assert (first["kind"], first["outcome"], first["user"], first["by"]) == ("sign_in", "failure", ada.id, None)
    assert (first["address"], first["agent"], first["request_id"], first["details"]) == ("127.0.0.1", "Ada's script", "abc", {})
    assert [(event["kind"], event["outcome"]) for event in others] == [("sign_in", "success"), ("account_created", "success")]
    kept = await collection(SecurityEventDocument).find_one({"_id": ObjectId(first["id"])})
    assert kept is not None
    assert validate(SecurityEventDocument, kept).request_id == "abc"
    assert {event["user"] for event in await events(bob)} == {bob.id}


async def test_events_hold_no_secrets(ada: Account) -> None:
    await sign_in(ada.client, "nobody-of-that-name", "a wrong password")
    await ada.client.post("/token", data={"grant_type": "refresh_token", "refresh_token": ada.refresh_token})
    await ada.patch("/users/me", json={"password": "another password 1", "current_password": PASSWORD})
    stored = str(await collection(SecurityEventDocument).find().to_list(None))
    for secret in (
        PASSWORD,
        "a wrong password",
        "another password 1",
        "nobody-of-that-name",
        ada.token,
        ada.refresh_token,
        "$argon2",
    ):
        assert secret not in stored


async def test_they_come_by_kind_and_in_pages(ada: Account) -> None:
    for _ in range(4):
        await sign_in(ada.client, "ada")
    answer = await ada.get("/users/me/events?kind=sign_in&limit=2&offset=2")
    assert {event["kind"] for event in answer.json()} == {"sign_in"}
    assert (len(answer.json()), answer.headers["x-total-count"]) == (2, "5")
    assert '</users/me/events?kind=sign_in&limit=2&offset=4>; rel="next"' in answer.headers["link"]
    whole = await events(ada, "/users/me/events?kind=sign_in")
    assert answer.json() == whole[2:4]
    assert [event["at"] for event in whole] == sorted((event["at"] for event in whole), reverse=True)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/users/me/events?kind=nonsense", {"kind": "literal_error"}),
        ("/users/me/events?user=65f1a2b3c4d5e6f708192a3b", {"user": "extra_forbidden"}),
        ("/users/me/events?outcome=failure", {"outcome": "extra_forbidden"}),
        ("/users/me/events?limit=0", {"limit": "greater_than_equal"}),
        ("/events?user=me", {"user": "string_pattern_mismatch"}),
        ("/events?outcome=perhaps", {"outcome": "literal_error"}),
        ("/events?kind=sign_in&kind=sign_in", {"kind": "repeated_parameter"}),
    ],
)
async def test_a_wrong_filter_is_named(root: Account, path: str, expected: dict[str, str]) -> None:
    assert wrong_fields(await root.get(path)) == expected


async def test_admins_see_those_of_all(root: Account, ada: Account) -> None:
    await sign_in(ada.client, "ada", "wrong password")
    await sign_in(ada.client, "nobody", "wrong password")
    assert [(event["user"], event["outcome"]) for event in await events(root, "/events?kind=sign_in")] == [
        (None, "failure"),
        (ada.id, "failure"),
        (ada.id, "success"),
    ]
    assert {event["kind"] for event in await events(root, f"/events?user={ada.id.upper()}")} == {"sign_in", "account_created"}
    assert len(await events(root, f"/events?user={ada.id}&outcome=failure&kind=sign_in")) == 1
    assert await events(root, f"/events?user={root.id}") == []
    answer = await root.get("/events?limit=1")
    assert (answer.headers["x-total-count"], len(answer.json())) == ("4", 1)


async def test_only_admins_see_those_of_all(ada: Account) -> None:
    answer = await ada.get("/events")
    is_problem(answer, 403, "insufficient_scope")
    assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="admin"'
    is_problem(await ada.client.get("/events"), 401, "not_authenticated")


async def test_account_does_not_see_where_admins_act_from(root: Account, ada: Account) -> None:
    ending = {"headers": {"User-Agent": "An admin's tool"}}
    assert (await root.delete(f"/users/{ada.id}/sessions", **ending)).status_code == 204
    (seen,) = await events(root, f"/events?user={ada.id}&kind=sessions_ended")
    assert (seen["by"], seen["address"], seen["agent"]) == (root.id, "127.0.0.1", "An admin's tool")
    token = (await sign_in(ada.client, "ada")).json()["access_token"]
    own = await ada.client.get("/users/me/events?kind=sessions_ended", headers={"Authorization": f"Bearer {token}"})
    assert own.json() == [{**seen, "address": "", "agent": ""}]


@pytest.mark.real
async def test_events_are_kept_as_long_as_configured(ada: Account) -> None:
    async def kept() -> list[timedelta]:
        found = await collection(SecurityEventDocument).find().to_list(None)
        return [event["expires_at"] - event["at"] for event in found]

    assert await kept() == [timedelta(days=180)] * 2
    await collection(SecurityEventDocument).delete_many({})
    async with another(event_days=7) as client:
        await sign_in(client, "ada")
    assert await kept() == [timedelta(days=7)]
    expiry = (await collection(SecurityEventDocument).index_information())["event_expiry"]
    assert (expiry["key"], expiry["expireAfterSeconds"]) == ([("expires_at", 1)], 0)


async def test_times_are_those_that_are_stored(ada: Account) -> None:
    before = utc_now()
    await sign_in(ada.client, "ada")
    first, *_ = await events(ada)
    assert before <= datetime.fromisoformat(first["at"]) <= utc_now()


async def test_wrong_current_passwords_are_failures(ada: Account) -> None:
    """They are what whoever has stolen a session tries."""
    calls = (
        ("PATCH", "/users/me", {"password": "a staple of batteries", "current_password": "a guess"}),
        ("DELETE", "/users/me", {"password": "a guess"}),
        *(("POST", f"/users/me/two-factor{path}", {"password": "a guess"}) for path in ("", "/recovery-codes", "/disable")),
    )
    for method, path, body in calls:
        is_problem(await ada.call(method, path, json=body), 400, "wrong_password")
    events = (await ada.get("/users/me/events?kind=current_password")).json()
    assert [(event["outcome"], event["details"]) for event in events] == [("failure", {})] * len(calls)
