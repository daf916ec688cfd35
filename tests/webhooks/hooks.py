"""What tests of webhooks share: how a webhook is made, and how they wait for deliveries."""

import asyncio
import time
from typing import Any

from bson import ObjectId

from taskapi.core.clock import utc_now
from taskapi.webhooks.documents import WebhookDeliveryDocument, WebhookDocument
from tests.client import Account
from tests.stored import collection
from tests.tools import PATIENCE_SECONDS
from tests.webhooks.receiver import Receiver

BSON = dict[str, Any]


async def add_hook(account: Account, here: Receiver, **fields: Any) -> BSON:
    """A webhook that sends to a receiver; as its maker sees it, with the secret."""
    made = await account.post("/webhooks", json={"url": here.url, **fields})
    assert made.status_code == 201, made.text
    return dict(made.json())


async def until_stored(matching: BSON, number: int = 1) -> list[BSON]:
    """The deliveries that match, as MongoDB keeps them, when there are so many."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(found := await deliveries(matching)) != number:
        assert time.monotonic() < deadline, await deliveries({})
        await asyncio.sleep(0.01)
    return found


async def deliveries(matching: BSON) -> list[BSON]:
    return await collection(WebhookDeliveryDocument).find(matching, sort=[("_id", 1)]).to_list(None)


async def due_now(matching: BSON | None = None) -> None:
    """Lets the time of the next attempt come."""
    await collection(WebhookDeliveryDocument).update_many(matching or {}, {"$set": {"next_attempt_at": utc_now()}})


async def stored_hook(hook: BSON) -> BSON:
    found = await collection(WebhookDocument).find_one({"_id": ObjectId(hook["id"])})
    assert found is not None
    return found


async def change_hook(hook: BSON, **values: Any) -> None:
    await collection(WebhookDocument).update_one({"_id": ObjectId(hook["id"])}, {"$set": values})
