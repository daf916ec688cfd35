"""The queries on webhooks and deliveries use indexes; the export and the erasure of an account have both."""

import asyncio
import io
import json
import time
from typing import Any
from zipfile import ZipFile

import pytest
from bson import ObjectId

from taskapi.core.clock import utc_now
from taskapi.webhooks.deliveries import new_delivery
from taskapi.webhooks.documents import WebhookDeliveryDocument, WebhookDocument
from tests.client import Account
from tests.mailbox import Mailbox, text_of
from tests.plans import found_in, stages
from tests.stored import collection
from tests.tools import PATIENCE_SECONDS
from tests.webhooks.hooks import BSON, add_hook, stored_hook, until_stored
from tests.webhooks.receiver import Receiver, answer

pytestmark = pytest.mark.real

HOOKS = [ObjectId() for _ in range(5)]
TASK = ObjectId()
PENDING = {"status": "pending"}


async def explained(name: str, command: BSON) -> BSON:
    database = collection(WebhookDeliveryDocument).database
    found: BSON = await database.command({"explain": command, "verbosity": "executionStats"})
    plan = found.get("queryPlanner", found)  # a pipeline has it in one of its stages
    assert stages(plan) & {"COLLSCAN", "SORT"} == set()
    assert set(found_in(plan, "indexName")) == {name}
    return found


@pytest.fixture
async def many(ada: Account) -> None:
    made = [
        {**new_delivery(ObjectId(), HOOKS[number % 5], "task.updated", f"{number:04}", b"{}"), "task": TASK}
        | {"status": "pending" if number % 3 and number > 200 else "delivered"}
        for number in range(600)
    ]
    await collection(WebhookDeliveryDocument).insert_many(made)


@pytest.mark.usefixtures("many")
async def test_plans_of_the_queue() -> None:
    due = {**PENDING, "next_attempt_at": {"$lte": utc_now()}}
    found = await explained("delivery_due", {"distinct": "webhook_deliveries", "key": "hook", "query": due})
    assert found["executionStats"]["totalKeysExamined"] <= 2 * len(HOOKS)
    of_hook = {"find": "webhook_deliveries", "filter": {**due, "hook": HOOKS[0]}, "limit": 6}
    found = await explained("delivery_due", {**of_hook, "sort": {"next_attempt_at": 1, "event": 1}})
    assert found["executionStats"]["totalDocsExamined"] == 6
    pending = [{"$match": {**PENDING, "hook": HOOKS[0]}}, {"$limit": 1000}, {"$group": {"_id": 1, "n": {"$sum": 1}}}]
    counted = await explained("delivery_due", {"aggregate": "webhook_deliveries", "pipeline": pending, "cursor": {}})
    assert set(found_in(counted, "totalDocsExamined")) == {0}
    pings = {**due, "hook": HOOKS[0], "task": None, "type": "webhook.ping"}
    found = await explained("delivery_order", {"find": "webhook_deliveries", "filter": pings, "limit": 6})
    assert found["executionStats"]["totalDocsExamined"] == 0
    earlier = {**PENDING, "hook": HOOKS[0], "task": TASK, "event": {"$lt": "0004"}}
    await explained("delivery_order", {"find": "webhook_deliveries", "filter": earlier, "limit": 1})
    dropped = {**PENDING, "hook": HOOKS[0], "event": {"$lt": "0500"}}
    by_time = {"next_attempt_at": 1, "event": 1}
    await explained("delivery_due", {"find": "webhook_deliveries", "filter": dropped, "projection": {"_id": 1}, "sort": by_time})
    first = [{"$match": dropped}, {"$group": {"_id": None, "event": {"$min": "$event"}}}]
    await explained("delivery_due", {"aggregate": "webhook_deliveries", "pipeline": first, "cursor": {}})
    ended = {"slot": {"$in": [f"example.com:443 {number}" for number in range(5)]}, "leased_until": {"$not": {"$gt": utc_now()}}}
    await explained("delivery_slot", {"find": "webhook_deliveries", "filter": ended})
    newest = {"find": "webhook_deliveries", "filter": {"hook": HOOKS[0]}, "sort": {"_id": -1}, "limit": 20}
    await explained("delivery_newest", newest)


async def test_plans_of_webhooks(ada: Account) -> None:
    for _ in range(3):
        await ada.post("/webhooks", json={"url": "https://hooks.invalid/"})
    mine = {"find": "webhooks", "filter": {"user": ObjectId(ada.id)}, "sort": {"_id": 1}}
    await explained("webhook_user", mine)
    await explained("webhook_enabled", {"find": "webhooks", "filter": {"enabled": True}})


async def test_the_export_has_them_without_secrets(ada: Account, here: Receiver) -> None:
    hook = await add_hook(ada, here, where={"title": "Call back"})
    task = await ada.make_task("Call back")
    await here.events(1)
    await until_stored({"status": "delivered"})
    exported = (await ada.get("/users/me/export")).content
    with ZipFile(io.BytesIO(exported)) as archive:
        files: dict[str, list[Any]] = {
            name: [json.loads(line) for line in archive.read(name).splitlines()]
            for name in ("webhooks.jsonl", "webhook_deliveries.jsonl")
        }
        everything = b"".join(archive.read(name) for name in archive.namelist())
    assert files["webhooks.jsonl"] == [(await ada.get(f"/webhooks/{hook['id']}")).json()]
    (delivery,) = files["webhook_deliveries.jsonl"]
    assert (delivery["webhook_id"], delivery["payload"]["data"]["task_id"]) == (hook["id"], task["id"])
    (shown,) = (await ada.get(f"/webhooks/{hook['id']}/deliveries")).json()
    assert delivery.keys() - shown.keys() == {"webhook_id", "payload"}
    assert (delivery["id"], delivery["event_id"]) == (shown["id"], shown["event_id"])
    stored = await stored_hook(hook)
    assert hook["secret"].encode() not in everything
    assert stored["secret"] not in everything


async def test_the_owner_gets_one_mail(ada: Account, here: Receiver, mailbox: Mailbox) -> None:
    await ada.patch("/users/me", json={"email": "ada@example.com"})
    await ada.client.post("/email/verify", json={"token": await mailbox.token("ada@example.com", "Verify")})
    await add_hook(ada, here)
    here.always = answer("410 Gone")
    for number in range(3):
        await ada.make_task(f"Task {number}")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (mails := await mailbox.to("ada@example.com", "webhook")):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    (mail,) = mails
    assert "410 Gone" in text_of(mail)
    assert "PATCH /webhooks/{id}" in text_of(mail)
    assert (await collection(WebhookDocument).find_one({}) or {})["disabled_reason"] == "gone"
