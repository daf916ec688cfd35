"""Bodies that are not read: the caller is known before, and strangers may send little."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI

from taskapi.web import routing
from taskapi.web.routing import FORM, JSON, MAX_ANONYMOUS_BODY_BYTES, MAX_MEMBERS, StrictRoute
from tests.client import Account, is_problem, signed_in, wrong_fields
from tests.conftest import another
from tests.walk import calls

ID = "65f1a2b3c4d5e6f708192a3b"
KEYED = {"Idempotency-Key": "unread-1"}
ANONYMOUS = ["/email/verify", "/password/forgot", "/password/reset", "/register", "/revoke", "/token"]


class Body:
    """A body that knows whether any of it was read."""

    def __init__(self, content: bytes = b"{") -> None:
        self.content = content
        self.was_read = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.was_read = True
        yield self.content


def routes_with_body(app: FastAPI, *, anonymous: bool) -> list[tuple[StrictRoute, str, str]]:
    return [
        (route, method, path)
        for route, method, path in calls(app, ID)
        if isinstance(route, StrictRoute) and route.takes and route.is_anonymous == anonymous
    ]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, KEYED, {"Content-Encoding": "gzip"}])
async def test_nothing_of_a_strangers_body_is_read(app: FastAPI, shared: httpx.AsyncClient, headers: dict[str, str]) -> None:
    routes = routes_with_body(app, anonymous=False)
    assert len(routes) > 15
    for route, method, path in routes:
        for kind in (*route.takes, "text/plain"):
            body = Body()
            answer = await shared.request(method, path, content=body, headers={"Content-Type": kind, **headers})
            is_problem(answer, 401, "invalid_token" if "Authorization" in headers else "not_authenticated")
            assert not body.was_read, (method, path, kind)


@pytest.mark.parametrize("headers", [{}, KEYED])
async def test_body_is_not_read_without_the_scope(app: FastAPI, ada: Account, headers: dict[str, str]) -> None:
    reader = await signed_in(ada.client, ada, scope="tasks:read")
    answers = []
    for route, method, path in routes_with_body(app, anonymous=False):
        body = Body()
        answer = await reader.call(method, path, content=body, headers={"Content-Type": route.takes[0], **headers})
        answers.append(answer.status_code)
        if answer.status_code == 403:
            is_problem(answer, 403, "insufficient_scope")
            assert not body.was_read, (method, path)
    assert answers.count(403) > 15


async def test_body_is_not_read_without_a_session(ada: Account) -> None:
    made = await ada.post("/users/me/tokens", json={"name": "CI", "scopes": ["account"]})
    assert made.status_code == 201, made.text
    body = Body()
    headers = {"Authorization": f"Bearer {made.json()['token']}", "Content-Type": JSON}
    answer = await ada.client.post("/users/me/two-factor", content=body, headers=headers)
    is_problem(answer, 403, "session_required")
    assert not body.was_read


async def test_strangers_may_send_little(app: FastAPI, shared: httpx.AsyncClient) -> None:
    routes = routes_with_body(app, anonymous=True)
    assert sorted(path for _, _, path in routes) == ANONYMOUS
    detail = f"The body is larger than {MAX_ANONYMOUS_BODY_BYTES} bytes."
    for route, method, path in routes:
        for kind in route.takes:
            headers = {"Content-Type": kind, "X-Forwarded-For": "203.0.113.7"}
            whole = b"&" * (MAX_ANONYMOUS_BODY_BYTES + 1)
            is_problem(await shared.request(method, path, content=whole, headers=headers), 413, "body_too_large", detail)
            for more in ({}, KEYED):
                answer = await shared.request(method, path, content=Body(whole), headers={**headers, **more})
                is_problem(answer, 413, "body_too_large", detail)
            answer = await shared.request(method, path, content=whole[:-1], headers=headers)
            assert answer.status_code in (400, 422), (path, answer.text)


@pytest.mark.parametrize("path", ["/token", "/revoke"])
async def test_a_form_has_few_fields(shared: httpx.AsyncClient, path: str) -> None:
    headers = {"Content-Type": FORM}
    for content in (b"&" * MAX_MEMBERS, b"&".join([b"a=1"] * (MAX_MEMBERS + 1))):
        answer = await shared.post(path, content=content, headers=headers)
        assert wrong_fields(answer) == {"": "too_many_fields"}
    answer = await shared.post(path, content=b"&".join([b"a=1"] * MAX_MEMBERS), headers=headers)
    assert "too_many_fields" not in wrong_fields(answer).values()


async def test_who_is_signed_in_may_send_more(ada: Account) -> None:
    lines = b'{"title": "One"}\n' * 2000
    assert len(lines) > MAX_ANONYMOUS_BODY_BYTES
    answer = await ada.post(
        "/tasks/import", params={"dry_run": True}, content=lines, headers={"Content-Type": "application/jsonl"}
    )
    assert answer.json()["created"] == 2000


@pytest.mark.parametrize("headers", [{}, KEYED])
@pytest.mark.parametrize("is_slow", [False, True])
async def test_slow_body_is_authenticated_again(
    ada: Account, monkeypatch: pytest.MonkeyPatch, is_slow: bool, headers: dict[str, str]
) -> None:
    if is_slow:
        monkeypatch.setattr(routing, "MAX_BODY_SECONDS", -1.0)
    other = await signed_in(ada.client, ada)

    async def ends_its_session() -> AsyncIterator[bytes]:
        yield b'{"title": '
        assert (await other.post("/logout")).status_code == 204
        yield b'"Too late"}'

    answer = await other.post("/tasks", content=ends_its_session(), headers={"Content-Type": JSON, **headers})
    if is_slow:
        is_problem(answer, 401, "invalid_token")
    else:  # the caller was let in before
        assert answer.status_code == 201
    assert len((await ada.get("/tasks")).json()) == (not is_slow)


@pytest.mark.real
async def test_slow_body_counts_once_for_the_quota(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "MAX_BODY_SECONDS", -1.0)
    async with another(requests_per_minute=5) as client:
        caller = replace(ada, client=client)
        answers = [await caller.post("/tasks", json={"title": "One of five"}) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [201] * 5 + [429]
