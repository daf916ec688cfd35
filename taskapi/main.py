"""Assembles the application, and the objects that it uses while it runs."""

import gc
import multiprocessing
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware

from taskapi import __version__
from taskapi.accounts import wiring as accounts_wiring
from taskapi.accounts.admin_router import router as admin_router
from taskapi.accounts.api_tokens.router import router as tokens_router
from taskapi.accounts.auth import admission, oauth
from taskapi.accounts.auth.loaders import AccountLoader, ApiTokensLastUsed, SessionsLastUsed
from taskapi.accounts.auth.router import router as auth_router
from taskapi.accounts.deletion.router import router as deletion_router
from taskapi.accounts.events_router import router as events_router
from taskapi.accounts.recovery.documents import OneTimeTokenDocument
from taskapi.accounts.recovery.router import router as recovery_router
from taskapi.accounts.security.access_tokens import PasswordHasher
from taskapi.accounts.security.documents import ThrottleDocument
from taskapi.accounts.sessions.documents import SessionDocument
from taskapi.accounts.sessions.router import router as sessions_router
from taskapi.accounts.two_factor.router import router as two_factor_router
from taskapi.accounts.users.documents import UserDocument
from taskapi.accounts.users.migrations import MIGRATIONS as USER_MIGRATIONS
from taskapi.accounts.users.repairs import REPAIRS as USER_REPAIRS
from taskapi.accounts.users.router import router as users_router
from taskapi.accounts.users.views import VIEWS as USER_VIEWS
from taskapi.analytics.daily.documents import TaskDayDocument
from taskapi.analytics.daily.views import VIEWS as DAILY_VIEWS
from taskapi.audit.documents import SecurityEventDocument
from taskapi.audit.views import VIEWS as AUDIT_VIEWS
from taskapi.core import background, logs, startup_warnings
from taskapi.core.background import Jobs
from taskapi.core.errors import StartupError
from taskapi.core.keys import Keyring
from taskapi.core.memory import MemoryReturn
from taskapi.core.resolver import Resolver
from taskapi.core.settings import Settings, load_settings
from taskapi.db import child_process, connection, driver_threads, embedded
from taskapi.db.migrations import startup
from taskapi.db.migrations.documents import MigrationDocument
from taskapi.db.migrations.migrator import Schema
from taskapi.db.migrations.startup import OnStart
from taskapi.db.primary import PrimaryProbe
from taskapi.db.service_state import ServiceStateDocument, ServiceStateRepository
from taskapi.events import asyncapi
from taskapi.events import wiring as events_wiring
from taskapi.events.documents import EventTicketDocument
from taskapi.events.feed import ChangeFeed
from taskapi.events.guard import ListenerGuard
from taskapi.events.live import page as live_page
from taskapi.events.routes.changes import router as changes_router
from taskapi.events.routes.socket import router as socket_router
from taskapi.events.routes.stream import router as stream_router
from taskapi.events.routes.tickets import router as tickets_router
from taskapi.mail.documents import MailJobDocument
from taskapi.mail.transports import choose
from taskapi.stats.router import router as stats_router
from taskapi.stats.service import StatsService
from taskapi.tasks import wiring as tasks_wiring
from taskapi.tasks.links.fetch import PageFetcher
from taskapi.tasks.routes.bulk import router as bulk_router
from taskapi.tasks.routes.checklist import router as checklist_router
from taskapi.tasks.routes.history import router as history_router
from taskapi.tasks.routes.idempotency import caller_of, takes_key
from taskapi.tasks.routes.import_export import router as import_export_router
from taskapi.tasks.routes.lists import router as lists_router
from taskapi.tasks.routes.tasks import router as tasks_router
from taskapi.tasks.routes.trash import router as trash_router
from taskapi.tasks.services.aggregation import TaskAggregation
from taskapi.tasks.services.changes import TaskChanges
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.migrations import MIGRATIONS as TASK_MIGRATIONS
from taskapi.tasks.storage.repairs import REPAIRS as TASK_REPAIRS
from taskapi.tasks.storage.views import VIEWS as TASK_VIEWS
from taskapi.web import about, cors, docs, error_handling, methods, middleware, openapi, problems, routing
from taskapi.web.admission import Admission
from taskapi.web.application import Application
from taskapi.web.forwarded import ForwardedHeaders
from taskapi.web.health import router as health_router
from taskapi.web.http_protocol import ON_STOP
from taskapi.web.http_upgrade import SOCKETS
from taskapi.web.idempotency.documents import IdempotencyDocument
from taskapi.web.idempotency.fingerprint import FingerprintKeys
from taskapi.web.idempotency.middleware import IdempotencyKeys
from taskapi.web.idempotency.repository import IdempotencyRepository
from taskapi.web.idempotency.service import IdempotencyService
from taskapi.web.load import Load
from taskapi.web.services import Services
from taskapi.web.socket_context import SocketContext, socket_paths
from taskapi.webhooks import wiring as webhooks_wiring
from taskapi.webhooks.documents import WebhookDeliveryDocument, WebhookDocument
from taskapi.webhooks.router import router as webhooks_router
from taskapi.webhooks.sender import WebhookSender
from taskapi.wiring import account_exporters, jobs, takeover_erasers

GC_THRESHOLDS = (20_000, 20, 20)  # Python's default of 700 would scan for cycles within one list of tasks, which has none
DOCUMENTS = (
    UserDocument,
    SessionDocument,
    TaskDocument,
    IdempotencyDocument,
    SecurityEventDocument,
    ThrottleDocument,
    MailJobDocument,
    OneTimeTokenDocument,
    EventTicketDocument,
    TaskDayDocument,
    ServiceStateDocument,
    MigrationDocument,
    WebhookDocument,
    WebhookDeliveryDocument,
)
MIGRATIONS = tuple(sorted((*TASK_MIGRATIONS, *USER_MIGRATIONS), key=lambda migration: migration.number))
VIEWS = (*TASK_VIEWS, *USER_VIEWS, *AUDIT_VIEWS, *DAILY_VIEWS)
FORMER_VIEWS = frozenset[str]()  # names of views that earlier versions made
SCHEMA = Schema(DOCUMENTS, MIGRATIONS, VIEWS, FORMER_VIEWS, repairs=(*TASK_REPAIRS, *USER_REPAIRS))
ROUTERS = (
    lists_router,
    bulk_router,
    import_export_router,
    tasks_router,
    checklist_router,
    history_router,
    trash_router,
    changes_router,
    stream_router,
    socket_router,
    tickets_router,
    stats_router,
    users_router,
    deletion_router,
    webhooks_router,
    sessions_router,
    tokens_router,
    two_factor_router,
    auth_router,
    recovery_router,
    events_router,
    admin_router,
    health_router,
)


def create_app(settings: Settings, connect: Callable[[Settings], connection.Client] = connection.connect) -> FastAPI:
    """Creates the application. ``connect`` creates the database client when the application starts; nothing is opened before."""
    load = Load(driver_threads.threads)
    app = Application(
        title="taskapi",
        version=__version__,
        description=about.DESCRIPTION,
        contact=about.CONTACT,
        openapi_tags=about.TAGS,
        lifespan=_lifespan(settings, connect, load),
        openapi_url="/openapi.json" if settings.docs else None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # URLs contain what people search for
        middleware=[
            Middleware(middleware.StartupFailure),
            Middleware(ForwardedHeaders, trusted=settings.trusted_proxies),
            *([Middleware(middleware.RootPath, root_path=settings.root_path)] if settings.root_path else []),
            Middleware(SocketContext, load=load, origins=settings.cors_origins),
            Middleware(middleware.RequestContext, load=load),
            Middleware(middleware.SecurityHeaders),
            Middleware(cors.CORS, origins=settings.cors_origins),
            Middleware(middleware.StripTrailingSlash),
            Middleware(middleware.LoadShedding, load=load, paths_in_turn=routing.paths_in_turn(ROUTERS)),
            Middleware(oauth.OAuthErrors),
            Middleware(error_handling.UnexpectedErrors),
            Middleware(methods.HeadMiddleware),
            Middleware(middleware.TargetLimit),
            Middleware(
                middleware.BodyLimit,
                limit=settings.max_body_bytes,
                others=routing.anonymous_limits(ROUTERS, settings.max_body_bytes)
                | {("POST", "/tasks/import"): settings.max_import_bytes},
            ),
            Middleware(IdempotencyKeys, takes_key=takes_key, caller_of=caller_of),
        ],
    )
    problems.install(app)
    for router in ROUTERS:
        app.router.routes.extend(router.routes)  # include_router would match every request twice
    if settings.docs:
        openapi.install(app, takes_key)
        oauth.install(app)
        docs.install(app)
        asyncapi.install(app)
        live_page.install(app)
    routing.prefer_exact_paths(app.routes)
    admission.install(app.routes)
    return app


def _lifespan(
    settings: Settings, connect: Callable[[Settings], connection.Client], load: Load
) -> Callable[[FastAPI], AbstractAsyncContextManager[Mapping[str, Any]]]:
    on_start = OnStart(settings.migrate)
    if embedded.is_used(settings):  # of several workers, some may still run the previous version: SIGHUP replaces them one by one
        on_start = OnStart.auto if multiprocessing.parent_process() else OnStart.everything

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Mapping[str, Any]]:
        if multiprocessing.parent_process():  # a worker must not outlive the process that owns the port
            child_process.die_with_parent(signal.SIGTERM)
        with embedded.provide(settings) as complete:
            resolver = Resolver(complete.dns_servers)
            async with (
                connection.open_database(complete, partial(prepare, on_start), connect) as database,
                PageFetcher(
                    resolver, allow_private=complete.links_allow_private, timeout=complete.links_timeout_seconds
                ) as fetcher,
                WebhookSender(resolver, allow_private=complete.webhooks_allow_private) as sender,
            ):
                keys = Keyring(complete.secrets)
                await ServiceStateRepository(database).check(keys)
                records = IdempotencyRepository(database, timedelta(seconds=complete.idempotency_lease_seconds))
                services = Services(
                    complete,
                    database,
                    fetcher,
                    sender,
                    Admission(load),
                    MemoryReturn(),
                    PrimaryProbe(complete),
                    FingerprintKeys(keys.derived("fingerprints of requests")),
                    IdempotencyService(records),
                    *accounts_wiring.wire(complete, database, keys, choose(complete, resolver)),
                )
                services = services.with_more(*tasks_wiring.wire(complete, database, keys, services[AccountLoader]))
                services = services.with_more(StatsService(services[TaskAggregation]))
                database_id = await services[TaskChanges].database_id()
                services = services.with_more(*events_wiring.wire(database, database_id, keys, services))
                services = services.with_more(*webhooks_wiring.wire(complete, database, keys, services))
                services = services.with_more(account_exporters(services), takeover_erasers(services))
                app.state.services = services = services.with_more(*jobs(services))
                gc.collect()
                gc.freeze()  # permanent objects need not be scanned by every later collection
                gc.set_threshold(*GC_THRESHOLDS)
                try:
                    async with background.running(services[Jobs]):
                        stop = partial(_stop, fetcher, services[ListenerGuard])
                        yield {ON_STOP: stop, SOCKETS: socket_paths(app.routes, complete.root_path)}
                finally:
                    await services[ChangeFeed].close()
                    await services[PrimaryProbe].close()
                    await services[SessionsLastUsed].close()
                    await services[ApiTokensLastUsed].close()
                    services[PasswordHasher].close()

    return lifespan


def _stop(fetcher: PageFetcher, guard: ListenerGuard) -> None:
    """What waits for others, or for something to happen, does not hold up the end of the server. Called for each connection."""
    fetcher.stop()
    guard.stop()


async def prepare(on_start: OnStart, database: connection.Database) -> None:
    """Makes a database ready for this version. Raises StartupError with one line if it must not be used."""
    await ServiceStateRepository(database).require_complete()
    await startup.make_ready(database, SCHEMA, on_start)


def __getattr__(name: str) -> Any:
    """For ``uvicorn taskapi.main:app``: creates the application on first access, so importing has no side effects."""
    if name != "app":
        raise AttributeError(name)
    try:
        settings = load_settings()
    except StartupError as error:
        raise SystemExit(f"taskapi: {error}") from None
    logs.configure(settings.log_level, settings.log_format)
    startup_warnings.log_warnings(settings)
    globals()[name] = app = create_app(settings)  # Uvicorn accesses it twice
    return app
