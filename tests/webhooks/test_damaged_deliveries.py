"""Deliveries, and webhooks with deliveries, that a script has damaged: each ends in time, and keeps no other waiting."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import Int64, ObjectId
from pymongo.errors import OperationFailure

from taskapi.core.clock import in_utc
from taskapi.webhooks.backoff import PATIENCE
from taskapi.webhooks.delivery_repository import DeliveryRepository, LeasedDelivery
from taskapi.webhooks.documents import WebhookDeliveryDocument
from tests.accounts.users.test_export import exported
from tests.client import Account
from tests.stored import collection, service
from tests.webhooks.clock import Clock, add_delivery
from tests.webhooks.hooks import BSON, add_hook, change_hook, deliveries, stored_hook
from tests.webhooks.receiver import Receiver

pytestmark = pytest.mark.real


async def damage(update: BSON, event: str = "1") -> None:
    await collection(WebhookDeliveryDocument).update_one({"event": event}, update)


async def turn(clock: Clock) -> None:
    await clock.worker.run_due()
    await clock.worker.finish()


@pytest.mark.parametrize(
    ("values", "error"),
    [({"secret": "text"}, "secret_unreadable"), ({"secret": None}, "secret_unreadable"), ({"url": 5}, "refused")],
    ids=str,
)
async def test_a_damaged_webhook_fails_and_is_given_up(
    ada: Account, here: Receiver, clock: Clock, caplog: pytest.LogCaptureFixture, values: dict[str, Any], error: str
) -> None:
    hook = await add_hook(ada, here)
    await change_hook(hook, **values)
    await add_delivery(ada, hook)
    caplog.set_level(logging.WARNING)
    for _ in range(3):
        await turn(clock)
    (found,) = await deliveries({})
    assert (found["status"], found["attempts"], found["error"]) == ("pending", 1, error)
    assert sum(record.name.startswith("taskapi") for record in caplog.records) <= 1
    assert not any(record.exc_info for record in caplog.records)
    found = await clock.attempt(clock.now + PATIENCE)
    assert (found["status"], found["attempts"], found["error"], here.taken) == ("failed", 2, error, [])


@pytest.mark.parametrize(
    "values",
    [
        {"previous_secret_until": "soon"},
        {"previous_secret_until": datetime(2100, 1, 1, tzinfo=UTC)},
        {"failing_since": 5},
        {"enabled": "yes"},
    ],
    ids=str,
)
async def test_what_can_be_sent_is_sent(ada: Account, here: Receiver, clock: Clock, values: dict[str, Any]) -> None:
    hook = await add_hook(ada, here)
    await change_hook(hook, **values)
    await add_delivery(ada, hook)
    here.answers = [b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n"]
    found = await clock.attempt()
    assert (found["status"], found["code"], in_utc(found["next_attempt_at"])) == (
        "pending",
        500,
        clock.now + timedelta(seconds=5),
    )
    found = await clock.attempt()
    assert (found["status"], found["code"]) == ("delivered", 200)


@pytest.mark.parametrize(
    "update", [{"$set": {"body": 5}}, {"$unset": {"body": ""}}, {"$unset": {"task": "", "body": ""}}], ids=str
)
async def test_a_damaged_delivery_is_given_up(ada: Account, here: Receiver, clock: Clock, update: BSON) -> None:
    await add_delivery(ada, await add_hook(ada, here))
    await damage(update)
    found = await clock.attempt()
    assert (found["status"], found["attempts"], in_utc(found["next_attempt_at"])) == (
        "pending",
        1,
        clock.now + timedelta(seconds=5),
    )
    found = await clock.attempt(clock.now + PATIENCE)
    assert (found["status"], found["attempts"], here.taken) == ("failed", 2, [])


@pytest.mark.parametrize(
    "update",
    [
        {"$set": {"body": "text"}},
        {"$set": {"body": b"\xff"}},
        {"$set": {"body": {"a": ObjectId(bytes(12))}}},
        {"$unset": {"body": ""}},
        {"$unset": {"hook": ""}},
        {"$unset": {"status": ""}},
        {"$set": {"attempts": "many", "created_at": 5}},
    ],
    ids=str,
)
async def test_a_damaged_delivery_is_listed_and_exported(
    ada: Account, here: Receiver, caplog: pytest.LogCaptureFixture, update: BSON
) -> None:
    hook = await add_hook(ada, here)
    made = [await add_delivery(ada, hook, event=event, status="delivered") for event in ("1", "2")]
    await damage(update)
    listed = await ada.get(f"/webhooks/{hook['id']}/deliveries")
    ids = [str(each["_id"]) for each in made]
    assert {each["id"] for each in listed.json()} == set(ids[1:] if "hook" in str(update) else ids)
    damaged, sound = (await exported(ada))["webhook_deliveries.jsonl"]
    assert [damaged["id"], sound["id"]] == ids
    assert (sound["webhook_id"], sound["payload"]) == (hook["id"], {"type": "task.updated"})
    assert damaged.keys() == sound.keys()
    assert damaged["payload"] in (None, sound["payload"])
    assert "damaged document" in caplog.text


@pytest.mark.parametrize("update", [{"$set": {"give_up_at": "never"}}, {"$unset": {"give_up_at": ""}}], ids=str)
async def test_without_an_end_it_is_tried_once(ada: Account, here: Receiver, clock: Clock, update: BSON) -> None:
    await add_delivery(ada, await add_hook(ada, here))
    await damage(update)
    here.always = b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n"
    found = await clock.attempt()
    assert (found["status"], found["attempts"], found["code"]) == ("failed", 1, 500)


@pytest.mark.parametrize("attempts", [Int64(2**63 - 1), "many"], ids=str)
async def test_attempts_that_cannot_be_counted(ada: Account, bob: Account, here: Receiver, clock: Clock, attempts: Any) -> None:
    hook, other = await add_hook(ada, here), await add_hook(bob, here)
    for event in ("1", "2"):
        await add_delivery(ada, hook, event=event)
    await add_delivery(bob, other, event="3")
    await damage({"$set": {"attempts": attempts}})
    await turn(clock)
    assert {each["event"] for each in await deliveries({"status": "delivered"})} == {"2", "3"}
    await turn(clock)
    assert {(each["status"], each["attempts"]) for each in await deliveries({})} == {("delivered", 1)}


@pytest.mark.usefixtures("made_anew")
@pytest.mark.parametrize("task", [[ObjectId()], {"a": 1}, 5], ids=["list", "object", "number"])
async def test_delivery_of_no_task_is_sent(ada: Account, here: Receiver, clock: Clock, task: Any) -> None:
    hook = await add_hook(ada, here)
    await add_delivery(ada, hook)
    await damage({"$set": {"task": task}})
    await add_delivery(ada, hook, ObjectId(), event="2")
    await turn(clock)
    assert [each["status"] for each in await deliveries({})] == ["delivered", "delivered"]
    shown = await ada.get(f"/webhooks/{hook['id']}/deliveries")
    assert (shown.status_code, len(shown.json())) == (200, 2)


async def test_webhook_of_the_last_version_is_disabled(ada: Account, here: Receiver, clock: Clock) -> None:
    hook = await add_hook(ada, here)
    await change_hook(hook, version=Int64(2**63 - 1))
    await add_delivery(ada, hook)
    here.always = b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n"
    assert (await clock.attempt())["status"] == "failed"
    stored = await stored_hook(hook)
    assert (stored["enabled"], stored["disabled_reason"], stored["version"]) == (False, "gone", 2**63 - 1)


async def test_what_mongodb_refuses_delays_no_other(
    ada: Account, bob: Account, here: Receiver, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hook, other = await add_hook(ada, here), await add_hook(bob, here)
    refused = await add_delivery(ada, hook)
    await add_delivery(bob, other, event="2")
    repository = service(DeliveryRepository)
    lease = repository.lease

    async def refuse(delivery_id: ObjectId, host: str) -> LeasedDelivery | None:
        if delivery_id == refused["_id"]:
            raise OperationFailure("no", 1)
        return await lease(delivery_id, host)

    monkeypatch.setattr(repository, "lease", refuse)
    await turn(clock)
    assert [each["event"] for each in await deliveries({"status": "delivered"})] == ["2"]
    assert f"deliveries to webhook {hook['id']}: OperationFailure" in caplog.text
