"""The webhooks of an account: how they are exported and erased with it."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from bson import ObjectId

from taskapi.accounts.users.schemas import UserRead
from taskapi.web.streaming import rendered
from taskapi.webhooks.delivery_repository import DeliveryRepository
from taskapi.webhooks.dispatch_repository import DispatchRepository
from taskapi.webhooks.repository import WebhookRepository
from taskapi.webhooks.service import export_delivery, read_webhook


@dataclass(frozen=True, slots=True)
class WebhookAccountData:
    """Exports the webhooks and deliveries of an account, without secrets, and deletes the webhooks."""

    hooks: WebhookRepository
    states: DispatchRepository
    deliveries: DeliveryRepository

    async def delete_webhooks(self, user_id: ObjectId) -> None:
        """Deletes the webhooks of an account."""
        await self.hooks.delete_for_user(user_id)
        await self.states.touch()

    def export_webhooks(self, user: UserRead) -> AsyncGenerator[str, None]:
        """The webhooks of ``user``, each as JSON."""
        return rendered(self.hooks.stream_for_user(user.object_id), lambda hook: [read_webhook(hook).model_dump_json()])

    def export_deliveries(self, user: UserRead) -> AsyncGenerator[str, None]:
        """What was and will be sent for ``user``, each as JSON, with what is sent as ``payload``."""
        return rendered(self.deliveries.stream_for_user(user.object_id), lambda each: [export_delivery(each).model_dump_json()])
