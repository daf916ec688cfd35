"""The routes of webhooks: what is refused, what is shown, and that nobody sees those of others."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from bson import ObjectId

from taskapi.accounts.users.schemas import UserRead
from taskapi.audit.documents import SecurityEventDocument
from taskapi.core.errors import InvalidToken
from taskapi.webhooks.documents import MAX_WEBHOOKS, WebhookDocument
from taskapi.webhooks.schemas import ALL_EVENTS, WebhookCreate
from taskapi.webhooks.service import WebhookService
from tests.client import Account, is_problem, signed_in, stored_user, wrong_fields
from tests.conftest import another
from tests.stored import audit_log, collection, service
from tests.webhooks.hooks import add_hook, deliveries, stored_hook
from tests.webhooks.receiver import Receiver

pytestmark = pytest.mark.real
URL = "https://hooks.invalid/tasks"
ABSENT = "65f1a2b3c4d5e6f708192a3b"


async def create(account: Account, **fields: Any) -> httpx.Response:
    return await account.post("/webhooks", json={"url": URL, **fields})


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks",
        "ftp://hooks.invalid/",
        "file:///etc/passwd",
        "gopher://hooks.invalid/",
        "javascript:alert(1)",
        "https://",
        "https://user:secret@hooks.invalid/",
        "https://hooks.invalid/#part",
        "https://hooks.invalid:99999/",
        "https://hooks.invalid/\x00",
        "https://hooks.invalid/" + "x" * 2048,
        17,
        None,
        ["https://hooks.invalid/"],
    ],
    ids=lambda url: str(url)[:40].replace("\0", "nul") or "empty",
)
async def test_hostile_urls_are_refused(ada: Account, url: Any) -> None:
    assert "url" in wrong_fields(await create(ada, url=url))
    assert (await ada.get("/webhooks")).json() == []


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://10.0.0.1:8443/",
    ],
)
async def test_private_receivers_are_refused_at_once(anonymous: httpx.AsyncClient, ada: Account, url: str) -> None:
    async with another(webhooks_allow_private=False) as client:
        answer = await client.post("/webhooks", json={"url": url}, headers=ada.headers)
        assert wrong_fields(answer)["url"] in {"url_scheme", "url_private"}


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"events": []}, "events"),
        ({"events": ["task.exploded"]}, "events.0"),
        ({"events": ["webhook.ping"]}, "events.0"),
        ({"where": {"no_such_field": 1}}, "where.no_such_field"),
        ({"where": "{}"}, "where"),
        ({"where": {"title": {"$where": "1"}}}, "where.title.$where"),
        ({"description": "x" * 201}, "description"),
        ({"enabled": "yes"}, "enabled"),
        ({"secret": "whsec_mine"}, "secret"),
        ({"failing_since": None}, "failing_since"),
    ],
    ids=str,
)
async def test_wrong_values_are_named(ada: Account, fields: dict[str, Any], wrong: str) -> None:
    assert wrong in wrong_fields(await create(ada, **fields))
    made = (await create(ada)).json()
    assert wrong in wrong_fields(await ada.patch(f"/webhooks/{made['id']}", json=fields))


async def test_the_secret_is_shown_once(ada: Account) -> None:
    answer = await create(ada)
    made = answer.json()
    assert answer.headers["location"] == f"/webhooks/{made['id']}"
    assert answer.headers["etag"] == '"1"'
    assert made["secret"].startswith("whsec_")
    assert made["events"] == list(ALL_EVENTS)
    shown = {name: value for name, value in made.items() if name != "secret"}
    assert (await ada.get(f"/webhooks/{made['id']}")).json() == shown
    assert (await ada.get("/webhooks")).json() == [shown]
    stored = await stored_hook(made)
    assert made["secret"].encode() not in stored["secret"]
    assert made["secret"] not in str(stored)


async def test_an_account_has_at_most_twenty(ada: Account, bob: Account) -> None:
    for _ in range(MAX_WEBHOOKS):
        assert (await create(ada)).status_code == 201
    is_problem(await create(ada), 409, "too_many_webhooks")
    assert (await create(bob)).status_code == 201
    first = (await ada.get("/webhooks")).json()[0]
    assert (await ada.delete(f"/webhooks/{first['id']}")).status_code == 204
    assert (await create(ada)).status_code == 201


async def test_one_of_several_gets_the_last_place(ada: Account) -> None:
    for _ in range(MAX_WEBHOOKS - 1):
        assert (await create(ada)).status_code == 201
    for _ in range(3):
        answers = await asyncio.gather(*(create(ada) for _ in range(4)))
        (made,) = [each.json() for each in answers if each.status_code == 201]
        for each in answers:
            if each.status_code != 201:
                is_problem(each, 409, "too_many_webhooks")
        stored = await collection(WebhookDocument).find({"user": ObjectId(ada.id)}, {"_id": 1}).to_list(None)
        assert (len(stored), ObjectId(made["id"]) in [each["_id"] for each in stored]) == (MAX_WEBHOOKS, True)
        assert (await ada.delete(f"/webhooks/{made['id']}")).status_code == 204


async def test_changes_need_the_version_that_is_known(ada: Account) -> None:
    hook = (await create(ada, where={"tags": "work"})).json()
    path = f"/webhooks/{hook['id']}"
    changed = await ada.patch(path, json={"where": None, "description": " mine "}, headers={"If-Match": '"1"'})
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    assert (changed.json()["where"], changed.json()["description"]) == (None, "mine")
    is_problem(await ada.patch(path, json={"enabled": False}, headers={"If-Match": '"1"'}), 412, "webhook_changed")
    is_problem(await ada.delete(path, headers={"If-Match": '"1"'}), 412, "webhook_changed")
    assert (await ada.delete(path, headers={"If-Match": '"2"'})).status_code == 204
    is_problem(await ada.delete(path), 404, "not_found")


async def test_a_disabled_webhook_neither_pings_nor_repeats(ada: Account) -> None:
    hook = (await create(ada, enabled=False)).json()
    assert (hook["enabled"], hook["disabled_reason"]) == (False, "owner")
    is_problem(await ada.post(f"/webhooks/{hook['id']}/ping"), 409, "webhook_disabled")
    is_problem(await ada.post(f"/webhooks/{hook['id']}/deliveries/{ABSENT}/redeliver"), 409, "webhook_disabled")
    enabled = (await ada.patch(f"/webhooks/{hook['id']}", json={"enabled": True})).json()
    assert (enabled["enabled"], enabled["disabled_reason"]) == (True, None)
    is_problem(await ada.post(f"/webhooks/{hook['id']}/deliveries/{ABSENT}/redeliver"), 404, "not_found")


async def test_those_of_others_do_not_exist(ada: Account, bob: Account, here: Receiver) -> None:
    hook = await add_hook(ada, here)
    delivery = (await ada.post(f"/webhooks/{hook['id']}/ping")).json()
    path = f"/webhooks/{hook['id']}"
    assert (await bob.get("/webhooks")).json() == []
    other = (await create(bob)).json()
    for method, address in (
        ("GET", path),
        ("PATCH", path),
        ("DELETE", path),
        ("POST", f"{path}/ping"),
        ("POST", f"{path}/rotate-secret"),
        ("GET", f"{path}/deliveries"),
        ("POST", f"{path}/deliveries/{delivery['id']}/redeliver"),
        ("POST", f"/webhooks/{other['id']}/deliveries/{delivery['id']}/redeliver"),
        ("GET", "/webhooks/not-an-id"),
    ):
        body = {"json": {"enabled": False}} if method == "PATCH" else {}
        is_problem(await bob.call(method, address, **body), 404, "not_found")
    assert (await stored_hook(hook))["version"] == 1


async def test_reading_tasks_is_needed_to_send_them(anonymous: httpx.AsyncClient, ada: Account) -> None:
    for scope in ("account", "tasks:read tasks:write"):
        limited = await signed_in(anonymous, ada, scope=scope)
        is_problem(await create(limited), 403, "insufficient_scope")
        is_problem(await limited.get("/webhooks"), 403, "insufficient_scope")


async def test_pages_of_deliveries(ada: Account, here: Receiver) -> None:
    hook = await add_hook(ada, here)
    for number in range(5):
        await ada.make_task(f"Task {number}")
    await here.events(5)
    path = f"/webhooks/{hook['id']}/deliveries"
    page = await ada.get(path, params={"limit": 2, "offset": 1})
    assert page.headers["x-total-count"] == "5"
    assert 'rel="next"' in page.headers["link"]
    ids = [str(each["_id"]) for each in reversed(await deliveries({}))]
    assert [each["id"] for each in page.json()] == ids[1:3]
    assert "status" in wrong_fields(await ada.get(path, params={"status": "lost"}))
    assert (await ada.get(path, params={"status": "failed"})).json() == []


async def test_security_events_tell_of_webhooks(ada: Account) -> None:
    hook = (await create(ada)).json()
    await ada.patch(f"/webhooks/{hook['id']}", json={"url": "https://other.invalid/"})
    await ada.post(f"/webhooks/{hook['id']}/rotate-secret")
    await ada.delete(f"/webhooks/{hook['id']}")
    found = await collection(SecurityEventDocument).find({"details.webhook": hook["id"]}, sort=[("_id", 1)]).to_list(None)
    assert [event["kind"] for event in found] == [
        "webhook_created",
        "webhook_changed",
        "webhook_secret_rotated",
        "webhook_deleted",
    ]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_session_that_ends_meanwhile_leaves_no_webhook(ada: Account, method: str) -> None:
    """Or a thief who is signed out would still be sent the owner's tasks."""
    owner = await signed_in(ada.client, ada)
    path = "/webhooks" if method == "POST" else f"/webhooks/{(await create(owner)).json()['id']}"
    before = (await owner.get("/webhooks")).json()

    async def body() -> AsyncIterator[bytes]:
        session = next(each for each in (await ada.get("/users/me/sessions")).json() if each["current"])
        assert (await owner.delete(f"/users/me/sessions/{session['id']}")).status_code == 204
        yield json.dumps({"url": "https://thief.invalid/"}).encode()

    answer = await ada.call(method, path, content=body(), headers={"Content-Type": "application/json"})
    is_problem(answer, 401, "invalid_token")
    assert (await owner.get("/webhooks")).json() == before


async def test_session_ended_during_the_write_leaves_none(ada: Account) -> None:
    user = UserRead.model_validate(await stored_user(ada.id))

    async def refuse() -> None:
        raise InvalidToken

    with pytest.raises(InvalidToken):
        await service(WebhookService).create(user, WebhookCreate(url=URL), audit_log(), refuse)
    assert await collection(WebhookDocument).count_documents({}) == 0
    assert await collection(SecurityEventDocument).count_documents({"kind": "webhook_created"}) == 0
