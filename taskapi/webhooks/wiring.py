"""Creates the repositories, services and jobs of webhooks, one object of each class per application."""

from collections.abc import Awaitable, Callable, Iterator

from bson import ObjectId

from taskapi.accounts.auth.loaders import AccountLoader
from taskapi.audit.recorder import AuditLog
from taskapi.audit.repository import SecurityEventRepository
from taskapi.core.keys import Keyring
from taskapi.core.settings import Settings
from taskapi.db.connection import Database
from taskapi.events.positions import PositionCodec
from taskapi.events.rendering import EventRenderer
from taskapi.mail.queue import Outbox
from taskapi.tasks.services.changes import TaskChanges
from taskapi.web.services import Services
from taskapi.webhooks.account_data import WebhookAccountData
from taskapi.webhooks.delivery_repository import DeliveryRepository
from taskapi.webhooks.dispatch_repository import DispatchRepository
from taskapi.webhooks.dispatcher import Dispatcher
from taskapi.webhooks.jobs import DeliveryJob, DispatchJob
from taskapi.webhooks.repository import WebhookRepository
from taskapi.webhooks.secrets import WebhookSecrets
from taskapi.webhooks.sender import WebhookSender
from taskapi.webhooks.service import WebhookService
from taskapi.webhooks.worker import DeliveryWorker

DISPATCH_SECONDS = 3  # between two looks whether another worker has stopped dispatching
DELIVERY_SECONDS = 1  # between two looks for deliveries that other workers left


def wire(settings: Settings, database: Database, keys: Keyring, services: Services) -> Iterator[object]:
    """The repositories, services and jobs of webhooks."""
    accounts, changes = services[AccountLoader], services[TaskChanges]
    yield (hooks := WebhookRepository(database))
    yield (deliveries := DeliveryRepository(database))
    yield (states := DispatchRepository(database, changes.database_id))
    yield WebhookAccountData(hooks, states, deliveries)
    yield (secrets := WebhookSecrets(keys.cipher("webhook secrets")))
    sender, tell = services[WebhookSender], _teller(services[Outbox], services[SecurityEventRepository])
    yield (worker := DeliveryWorker(hooks, states, deliveries, accounts, secrets, sender, tell))
    yield (job := DeliveryJob("webhook deliveries", worker, DELIVERY_SECONDS))
    yield (
        dispatcher := Dispatcher(
            changes,
            services[EventRenderer],
            services[PositionCodec],
            accounts,
            states,
            hooks,
            deliveries,
            job.wake,
            f"{settings.root_path}/tasks",
        )
    )
    yield (dispatch := DispatchJob("webhook dispatcher", dispatcher.run, DISPATCH_SECONDS))
    yield WebhookService(
        hooks,
        deliveries,
        states,
        changes,
        secrets,
        dispatch.wake,
        job.wake,
        allow_private=settings.webhooks_allow_private,
        milliseconds=settings.query_timeout_ms,
    )


def _teller(mail: Outbox, events: SecurityEventRepository) -> Callable[[ObjectId], Awaitable[None]]:
    """Mails the owner that a webhook was disabled."""

    async def tell(user: ObjectId) -> None:
        await mail.enqueue("notice_webhook", AuditLog(events, "", ""), user=user)

    return tell
