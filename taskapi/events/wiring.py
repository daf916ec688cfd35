"""Creates the repositories and services of events, one object of each class per application."""

import logging
from collections.abc import Iterator

from taskapi.accounts.api_tokens.service import ApiTokenService
from taskapi.accounts.auth.loaders import AccountLoader, TokenOwnerLoader
from taskapi.accounts.sessions.repository import SessionRepository
from taskapi.accounts.users.repository import UserRepository
from taskapi.core.keys import Keyring
from taskapi.core.settings import Settings
from taskapi.db.connection import Database
from taskapi.db.expressions import DAY_MS
from taskapi.events.delta import DeltaSync
from taskapi.events.feed import ChangeFeed
from taskapi.events.filters import FilterQueries
from taskapi.events.guard import SWEEP_SECONDS, GuardJob, ListenerGuard
from taskapi.events.positions import PositionCodec, PositionSigner
from taskapi.events.rendering import EventRenderer
from taskapi.events.socket.turns import MessageTurns
from taskapi.events.ticket_repository import TicketRepository
from taskapi.events.tickets import Tickets
from taskapi.tasks.services.changed_tasks import ChangedTasks
from taskapi.tasks.services.changes import TaskChanges
from taskapi.tasks.storage.rendering import TaskRenderer
from taskapi.web.services import Services

log = logging.getLogger(__name__)


def wire(database: Database, database_id: bytes, keys: Keyring, services: Services) -> Iterator[object]:
    """Yields the objects that routes and other packages use; ``services`` has those of the packages below."""
    yield (tickets := TicketRepository(database))
    yield Tickets(tickets, services[AccountLoader], services[TokenOwnerLoader], services[SessionRepository])
    changes, tasks = services[TaskChanges], services[TaskRenderer]
    if not changes.are_supported:
        log.warning("MongoDB is standalone, so there are no events: streams and WebSockets are answered with 501")
    yield (positions := PositionCodec(PositionSigner(keys.derived("positions")), database_id))
    yield (renderer := EventRenderer(changes, tasks, positions))
    yield (feed := ChangeFeed(changes, renderer, positions))
    yield FilterQueries(changes)
    yield MessageTurns()
    yield DeltaSync(changes, services[ChangedTasks], tasks, positions, services[Settings].trash_days * DAY_MS)
    yield (guard := ListenerGuard(services[UserRepository], services[ApiTokenService], feed.refresh))
    yield GuardJob("listeners", guard.sweep, SWEEP_SECONDS)
