"""A worker that the test drives itself, by a clock that it sets."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from bson import ObjectId

from taskapi.accounts.auth.loaders import AccountLoader
from taskapi.core.clock import utc_now
from taskapi.webhooks.deliveries import new_delivery
from taskapi.webhooks.delivery_repository import DeliveryRepository
from taskapi.webhooks.dispatch_repository import DispatchRepository
from taskapi.webhooks.repository import WebhookRepository
from taskapi.webhooks.secrets import WebhookSecrets
from taskapi.webhooks.sender import WebhookSender
from taskapi.webhooks.worker import DeliveryWorker, Tell
from tests.client import Account
from tests.stored import service
from tests.webhooks.hooks import BSON, deliveries, due_now


def delivery_worker(sender: WebhookSender, tell: Tell, now: Callable[[], datetime] = utc_now) -> DeliveryWorker:
    """A worker beside those of the application."""
    return DeliveryWorker(
        service(WebhookRepository),
        service(DispatchRepository),
        service(DeliveryRepository),
        service(AccountLoader),
        service(WebhookSecrets),
        sender,
        tell,
        now,
    )


class Clock:
    """A worker by whose clock it is as late as the test says, and whom it has told that their webhook was disabled."""

    def __init__(self, sender: WebhookSender) -> None:
        self.now = utc_now()
        self.told: list[ObjectId] = []
        self.worker = delivery_worker(sender, self.tell, lambda: self.now)

    async def tell(self, user: ObjectId) -> None:
        self.told.append(user)

    async def attempt(self, at: datetime | None = None) -> BSON:
        """The only delivery after an attempt; ``at`` is what the clock says."""
        self.now = at or self.now
        await due_now({"status": "pending"})
        await self.worker.run_due()
        await self.worker.finish()
        (found,) = await deliveries({})
        return found


async def add_delivery(account: Account, hook: BSON, task: ObjectId | None = None, event: str = "1", **values: Any) -> BSON:
    made = new_delivery(ObjectId(account.id), ObjectId(hook["id"]), "task.updated", event, b'{"type":"task.updated"}')
    made |= {"task": task, **values}
    await service(DeliveryRepository).add([made])
    return made
