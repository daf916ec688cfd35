"""``Idempotency-Key`` over HTTP: what is repeated is done once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from bson import ObjectId

from taskapi.accounts.users.documents import UserDocument
from taskapi.core.clock import utc_now
from taskapi.db.shapes import validate
from taskapi.web import routing
from taskapi.web.idempotency.documents import IdempotencyDocument
from tests.client import Account, is_problem, signed_in, stored_task, wrong_fields
from tests.stored import collection
from tests.web.idempotency.records import KEY, KEYED, change_record, forget_answer, records, tasks, the_record

JSON = {"content-type": "application/json"}
BODY = {"title": "Once", "tags": ["a"], "completed": True}
REPLAY = "idempotent-replay"


async def post(account: Account, body: Any = BODY, path: str = "/tasks", **headers: str) -> httpx.Response:
    return await account.post(path, json=body, headers={**KEYED, **headers})


async def test_repeat_gets_the_first_answer_and_creates_nothing(ada: Account) -> None:
    first = await post(ada)
    assert (first.status_code, REPLAY in first.headers) == (201, False)
    again = await post(ada)
    assert (again.status_code, again.content, again.headers[REPLAY]) == (201, first.content, "true")
    for name in ("content-type", "content-length", "location", "etag"):
        assert again.headers.get_list(name) == first.headers.get_list(name), name
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert await tasks() == 1
    record = await the_record()
    assert record["_id"] == {"scope": f"user:{ada.id}", "key": KEY}
    assert record["seed"] == ObjectId(first.json()["id"])
    assert (record["status"], record["body"], record["holder"]) == (201, first.content, None)
    assert record["expires_at"] - record["created_at"] == timedelta(hours=24)
    assert validate(IdempotencyDocument, record).status == 201


@pytest.mark.real
async def test_twins_make_one_task(ada: Account) -> None:
    answers = await asyncio.gather(*(post(ada) for _ in range(20)))
    seen = Counter((answer.status_code, REPLAY in answer.headers) for answer in answers)
    assert seen[201, False] == 1
    assert set(seen) <= {(201, False), (201, True), (409, False)}
    for answer in answers:
        if answer.status_code == 409:
            is_problem(answer, 409, "idempotency_in_flight")
            assert int(answer.headers["retry-after"]) > 0
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 1
    assert await tasks() == 1
    assert (await post(ada)).headers[REPLAY] == "true"


@pytest.mark.parametrize(
    ("path", "content", "kind"),
    [
        ("/tasks", b'{"title":"Other"}', "application/json"),
        ("/tasks", b'{"title": "Once"}', "application/json"),
        ("/tasks", b"", "application/json"),
        ("/tasks?a=1", b'{"title":"Once"}', "application/json"),
        ("/tasks/nowhere", b'{"title":"Once"}', "application/json"),
        ("/tasks", b'{"title":"Once"}', "application/json; charset=utf-8"),
        ("/tasks", b" " * 200_000, "application/json"),
    ],
)
async def test_another_request_under_the_key_is_refused(ada: Account, path: str, content: bytes, kind: str) -> None:
    first = await ada.post("/tasks", content=b'{"title":"Once"}', headers={**KEYED, **JSON})
    assert first.status_code == 201
    other = await ada.post(path, content=content, headers={**KEYED, "content-type": kind})
    is_problem(other, 422, "idempotency_key_reused")
    assert REPLAY not in other.headers
    assert await tasks() == 1


async def test_a_trailing_slash_makes_no_other_request(ada: Account) -> None:
    first = await post(ada)
    again = await post(ada, path="/tasks/")
    assert (again.json(), again.headers[REPLAY]) == (first.json(), "true")


async def test_keys_belong_to_their_user(ada: Account, bob: Account) -> None:
    hers, his = await post(ada), await post(bob)
    assert (hers.status_code, his.status_code) == (201, 201)
    assert REPLAY not in his.headers
    assert (await stored_task(his.json()["id"]))["owner"]["id"] == ObjectId(bob.id)
    assert (await post(ada)).json() == hers.json()
    assert await tasks() == 2


async def test_who_may_not_come_in_gets_no_replay(ada: Account) -> None:
    assert (await post(ada)).status_code == 201
    is_problem(await ada.client.post("/tasks", json=BODY, headers=KEYED), 401, "not_authenticated")
    await collection(UserDocument).update_one({"_id": ObjectId(ada.id)}, {"$set": {"disabled": True}})
    is_problem(await post(ada), 401, "invalid_token")
    assert (await records(), await tasks()) == (1, 1)


async def test_unacceptable_accept_leaves_the_key_free(ada: Account) -> None:
    is_problem(await post(ada, Accept="text/html"), 406, "not_acceptable")
    assert await tasks() == 0
    answer = await post(ada, Accept="application/json")
    assert (answer.status_code, REPLAY in answer.headers, await tasks()) == (201, False, 1)


async def test_401_to_slow_body_leaves_the_key_free(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "MAX_BODY_SECONDS", -1.0)
    other = await signed_in(ada.client, ada)

    async def signs_out() -> AsyncIterator[bytes]:
        yield b'{"title":'
        assert (await other.post("/logout")).status_code == 204
        yield b'"Once"}'

    is_problem(await other.post("/tasks", content=signs_out(), headers={**KEYED, **JSON}), 401, "invalid_token")
    record = await the_record()
    assert (record["status"], record["holder"], await tasks()) == (None, None, 0)
    answer = await ada.post("/tasks", content=b'{"title":"Once"}', headers={**KEYED, **JSON})
    assert (answer.status_code, REPLAY in answer.headers, await tasks()) == (201, False, 1)
    assert answer.json()["id"] == str(record["seed"])


@pytest.mark.real  # mongomock cannot revert
async def test_412_leaves_key_free_for_the_current_etag(ada: Account) -> None:
    task = await ada.make_task("One")
    for title in ("Two", "Three"):
        assert (await ada.patch(f"/tasks/{task['id']}", json={"title": title})).status_code == 200
    path = f"/tasks/{task['id']}/revert"
    stale = await post(ada, {"version": 1}, path, **{"If-Match": '"2"'})
    is_problem(stale, 412, "precondition_failed")
    fresh, again = [await post(ada, {"version": 1}, path, **{"If-Match": stale.headers["etag"]}) for _ in range(2)]
    assert (fresh.status_code, fresh.json()["title"], REPLAY in fresh.headers) == (200, "One", False)
    assert (again.content, again.headers[REPLAY]) == (fresh.content, "true")
    assert (await stored_task(task["id"]))["version"] == 4


@pytest.mark.parametrize("key", [b"", b"a b", b"x" * 256, "é".encode(), b"a\x7f", b"a\tb"], ids=repr)
async def test_a_bad_key_is_named(ada: Account, key: bytes) -> None:
    headers = [(b"idempotency-key", key), (b"authorization", ada.headers["Authorization"].encode())]
    answer = await ada.client.post("/tasks", json=BODY, headers=headers)
    assert wrong_fields(answer) == {"Idempotency-Key": "idempotency_key"}
    assert (await records(), await tasks()) == (0, 0)


async def test_two_keys_are_one_too_many(ada: Account) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "a"), *ada.headers.items()]
    answer = await ada.client.post("/tasks", json=BODY, headers=headers)
    assert wrong_fields(answer) == {"Idempotency-Key": "idempotency_key"}
    assert (await records(), await tasks()) == (0, 0)


@pytest.mark.parametrize("key", ["!", "~" * 255, '"quoted"', "$where", "a.b"])
async def test_any_visible_text_is_a_key(ada: Account, key: str) -> None:
    for _ in range(2):
        answer = await post(ada, **{"Idempotency-Key": key})
    assert answer.headers[REPLAY] == "true"
    assert await tasks() == 1


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b'{"title":""}', "application/json", 422),
        (b"{", "application/json", 400),
        (b"x", "text/plain", 415),
        (b"x" * 200_000, "text/plain", 415),
    ],
    ids=["422", "400", "415", "415 unread"],
)
async def test_refusals_are_kept_too(ada: Account, content: bytes, kind: str, status: int) -> None:
    headers = {**KEYED, "content-type": kind}
    first, again = [await ada.post("/tasks", content=content, headers=headers) for _ in range(2)]
    assert (first.status_code, again.status_code) == (status, status)
    assert (again.content, again.headers[REPLAY]) == (first.content, "true")
    is_problem(await post(ada), 422, "idempotency_key_reused")
    assert await tasks() == 0


@pytest.mark.real  # mongomock removes what has expired, and cannot when the _id is a document
async def test_an_expired_key_is_a_new_one(ada: Account) -> None:
    first = await post(ada)
    await change_record(expires_at=utc_now() - timedelta(seconds=1))
    other = await post(ada, {"title": "Another day"})
    assert (other.status_code, REPLAY in other.headers) == (201, False)
    assert other.json()["id"] != first.json()["id"]
    assert await tasks() == 2
    assert (await the_record())["seed"] == ObjectId(other.json()["id"])
    assert (await post(ada, {"title": "Another day"})).headers[REPLAY] == "true"


async def test_crash_does_not_open_key_to_other_requests(ada: Account) -> None:
    await post(ada)
    await forget_answer()
    is_problem(await post(ada, {"title": "Other"}), 422, "idempotency_key_reused")
    large = await ada.post("/tasks", content=b'{"title": "Other"}' + b" " * 200_000, headers={**KEYED, **JSON})
    is_problem(large, 422, "idempotency_key_reused")
    assert (await the_record())["status"] is None
    assert (await post(ada)).status_code == 201
    assert await tasks() == 1


async def test_key_in_use_sends_retry_after(ada: Account) -> None:
    await post(ada)
    await forget_answer(lease=timedelta(seconds=60))
    answer = await post(ada)
    is_problem(answer, 409, "idempotency_in_flight")
    assert answer.headers["retry-after"] == "1"


async def test_a_large_body_is_told_apart_as_well(ada: Account) -> None:
    large = b'{"title": "Large"}' + b" " * 500_000
    first = await ada.post("/tasks", content=large, headers={**KEYED, **JSON})
    assert first.status_code == 201
    assert (await ada.post("/tasks", content=large, headers={**KEYED, **JSON})).headers[REPLAY] == "true"
    other = await ada.post("/tasks", content=large + b" ", headers={**KEYED, **JSON})
    is_problem(other, 422, "idempotency_key_reused")
    await forget_answer()
    is_problem(await ada.post("/tasks", content=large + b" ", headers={**KEYED, **JSON}), 422, "idempotency_key_reused")
    assert (await ada.post("/tasks", content=large, headers={**KEYED, **JSON})).json() == first.json()
    assert await tasks() == 1


@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
async def test_body_over_the_limit_leaves_the_key_free(ada: Account, kind: str) -> None:
    async def stream() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b" " * 65_536

    answer = await ada.post("/tasks", content=stream(), headers={**KEYED, "content-type": kind})
    is_problem(answer, 413, "body_too_large")
    assert (await post(ada)).status_code == 201


async def test_signing_in_takes_no_key(ada: Account) -> None:
    form = {"username": "ada", "password": "correct horse battery"}
    first, again = [await ada.client.post("/token", data=form, headers=KEYED) for _ in range(2)]
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json()["access_token"] != again.json()["access_token"]
    assert await records() == 0


async def test_a_search_takes_no_key(ada: Account) -> None:
    """Or what it found would be shown again to a token that may not read."""
    await ada.make_task("A secret")
    writer = await signed_in(ada.client, ada, scope="tasks:write")
    for who, status in ((ada, 200), (writer, 403), (ada, 200)):
        answer = await who.post("/tasks/search", json={}, headers=KEYED)
        assert (answer.status_code, "idempotent-replay" in answer.headers) == (status, False)
    assert await records() == 0


async def test_other_methods_take_no_key(ada: Account) -> None:
    task = await ada.make_task()
    for method, path in (("GET", "/tasks"), ("PATCH", f"/tasks/{task['id']}"), ("DELETE", f"/tasks/{task['id']}")):
        options: dict[str, Any] = {"json": {"title": "Changed"}} if method == "PATCH" else {}
        assert (await ada.call(method, path, headers=KEYED, **options)).is_success
    assert await records() == 0


async def test_cors_allows_the_key_and_exposes_the_replay(ada: Account) -> None:
    origin = {"Origin": "http://localhost:3000"}
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,idempotency-key"}
    assert (await ada.client.options("/tasks", headers={**origin, **ask})).status_code == 200
    await post(ada, **origin)
    again = await post(ada, **origin)
    assert again.headers[REPLAY] == "true"
    assert "Idempotent-Replay" in again.headers["access-control-expose-headers"]
    assert again.headers.get_list("access-control-allow-origin") == ["http://localhost:3000"]
