"""What belongs to several packages: which data an account has, how it is exported and erased, and the background jobs."""

from collections.abc import Iterator, Mapping
from functools import partial

from beanie import Document

from taskapi.accounts.api_tokens.service import ApiTokenService
from taskapi.accounts.deletion import service as deletion
from taskapi.accounts.deletion.export import AccountExporters
from taskapi.accounts.deletion.repository import DeletionRepository
from taskapi.accounts.deletion.service import Eraser
from taskapi.accounts.recovery.documents import OneTimeTokenDocument
from taskapi.accounts.recovery.repository import OneTimeTokenRepository
from taskapi.accounts.recovery.service import TakeoverErasers
from taskapi.accounts.sessions.documents import SessionDocument
from taskapi.accounts.sessions.repository import SessionRepository
from taskapi.accounts.sessions.service import SessionService
from taskapi.accounts.two_factor.repository import TwoFactorRepository
from taskapi.accounts.two_factor.service import TwoFactorKeys, report_unreadable
from taskapi.accounts.users import renaming
from taskapi.accounts.users import service as users
from taskapi.accounts.users.renaming import RenamingJob
from taskapi.accounts.users.renaming_repository import RenamingRepository
from taskapi.analytics.daily.account_repository import TaskDayRepository
from taskapi.analytics.daily.documents import TaskDayDocument
from taskapi.audit.account_data import export_events
from taskapi.audit.documents import SecurityEventDocument
from taskapi.audit.repository import SecurityEventRepository
from taskapi.core.background import Job, Jobs
from taskapi.db.connection import Database
from taskapi.events.documents import EventTicketDocument
from taskapi.events.guard import GuardJob
from taskapi.events.ticket_repository import TicketRepository
from taskapi.mail.documents import MailJobDocument
from taskapi.mail.queue import MailJob
from taskapi.mail.repository import MailRepository
from taskapi.tasks.services.account_data import TaskAccountData
from taskapi.tasks.services.adoption import TaskAdoption
from taskapi.tasks.services.trash import TrashService
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.owner_name_repository import OwnerNameRepository
from taskapi.web.idempotency.documents import IdempotencyDocument
from taskapi.web.idempotency.service import IdempotencyService
from taskapi.web.services import Services
from taskapi.webhooks.account_data import WebhookAccountData
from taskapi.webhooks.delivery_repository import DeliveryRepository
from taskapi.webhooks.documents import WebhookDeliveryDocument, WebhookDocument
from taskapi.webhooks.jobs import DeliveryJob, DispatchJob
from taskapi.webhooks.repository import WebhookRepository
from taskapi.webhooks.secrets import WebhookSecrets, renew_secrets

REMOVAL_SECONDS = 300
ADOPTION_SECONDS = 1
RENAMING_SECONDS = 60  # between two checks for renamings that other workers left unfinished
EXPIRY_SECONDS = 60
DAY_SECONDS = 86_400


def account_erasers(services: Services) -> Mapping[type[Document], Eraser]:
    """The collections that hold data of an account, and what deletes it from each, in this order; the account comes last."""
    return {
        TaskDocument: services[TaskAccountData].delete_for_user,
        TaskDayDocument: TaskDayRepository(services[Database]).delete_for_user,
        SessionDocument: services[SessionRepository].delete_for_user,
        IdempotencyDocument: services[IdempotencyService].records.delete_for_user,
        MailJobDocument: services[MailRepository].delete_for_user,
        OneTimeTokenDocument: services[OneTimeTokenRepository].delete_for_user,
        EventTicketDocument: services[TicketRepository].delete_for_user,
        SecurityEventDocument: services[SecurityEventRepository].delete_for_user,
        WebhookDocument: services[WebhookAccountData].delete_webhooks,
        WebhookDeliveryDocument: services[DeliveryRepository].delete_for_user,
    }


def takeover_erasers(services: Services) -> TakeoverErasers:
    """What else ends when the owner of an address takes over an account: its webhooks would send their tasks to a stranger."""
    return TakeoverErasers((services[WebhookAccountData].delete_webhooks, services[DeliveryRepository].delete_for_user))


def account_exporters(services: Services) -> AccountExporters:
    """The files in the export of an account, by name."""
    return AccountExporters(
        {
            "account.jsonl": users.export_account,
            "tasks.jsonl": services[TaskAccountData].export_tasks,
            "trash.jsonl": services[TaskAccountData].export_trash,
            "history.jsonl": services[TaskAccountData].export_history,
            "sessions.jsonl": services[SessionService].export_for_user,
            "tokens.jsonl": services[ApiTokenService].export,
            "webhooks.jsonl": services[WebhookAccountData].export_webhooks,
            "webhook_deliveries.jsonl": services[WebhookAccountData].export_deliveries,
            "events.jsonl": lambda user: export_events(services[SecurityEventRepository], user.object_id),
        }
    )


def jobs(services: Services) -> Iterator[object]:
    """The background jobs."""
    follow_due = partial(renaming.follow_due, services[RenamingRepository], services[OwnerNameRepository])
    yield (names := RenamingJob("renaming", follow_due, RENAMING_SECONDS))
    remove_due = partial(deletion.remove_due, services[DeletionRepository], account_erasers(services).values())
    removal = Job("account deletion", remove_due, REMOVAL_SECONDS)
    expiry = Job("trash expiry", services[TrashService].purge_expired, EXPIRY_SECONDS)
    report = partial(report_unreadable, services[TwoFactorRepository], services[TwoFactorKeys].cipher)
    renewal = partial(renew_secrets, services[WebhookRepository], services[WebhookSecrets])
    secrets = Job("webhook secrets", renewal, DAY_SECONDS)
    factors = Job("second factor check", report, DAY_SECONDS)
    adoption = Job("adoption of tasks", services[TaskAdoption].adopt_all, ADOPTION_SECONDS)
    webhooks = (services[DispatchJob], services[DeliveryJob])
    yield Jobs((services[MailJob], *webhooks, services[GuardJob], names, removal, expiry, factors, secrets, adoption))
