"""One MongoDB for the whole run, one database for each test worker, emptied before each test."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from taskapi import wiring
from taskapi.accounts import wiring as accounts_wiring
from taskapi.accounts.security import repository as attempts
from taskapi.accounts.users.renaming import RenamingJob
from taskapi.core import data_loader
from taskapi.core.clock import utc_now
from taskapi.core.settings import Settings
from taskapi.db import driver_threads, embedded, primary, transactions
from taskapi.db.connection import Database
from taskapi.db.migrations.documents import MigrationDocument
from taskapi.main import DOCUMENTS, create_app
from taskapi.webhooks import wiring as webhooks_wiring
from tests.client import Account, make_account
from tests.leaks import keep_output, keep_secret
from tests.mailbox import Mailbox
from tests.stored import collection, stored_in, validation_level
from tests.tools import PATIENCE_SECONDS

pytest_plugins = ["tests.runlog"]

SECRET = "a-secret-of-the-test-suite-0123456789"
MEMORY = Path("/dev/shm")  # a write waits until it is on disk, which takes no time there
MEMORY_BYTES = 4 * 1024**3  # that must be free
URI_VARIABLE = "TASKAPI_TEST_MONGODB_URI"  # preset it to test on a server of your own
FOLDER_VARIABLE = "TASKAPI_TEST_FOLDER"
EMPTIED = tuple(document for document in DOCUMENTS if document is not MigrationDocument)  # which says what version it is of


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--store", choices=["real", "mock"], default="real", help="MongoDB, or mongomock-motor for a quick run")


def pytest_configure(config: pytest.Config) -> None:
    """The process that controls the run starts the server; the workers inherit its address."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's "&": what tests start would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the run as Ctrl-C does, with what tests have started
    accounts_wiring.MAIL_SECONDS = 3600  # an application sends what it was asked for itself, and nothing of another one
    webhooks_wiring.DISPATCH_SECONDS = webhooks_wiring.DELIVERY_SECONDS = 3600
    wiring.RENAMING_SECONDS = wiring.EXPIRY_SECONDS = wiring.REMOVAL_SECONDS = 3600  # or it does what a test leaves undone
    data_loader.MAX_WAIT_SECONDS = driver_threads.MAX_WAIT_SECONDS = primary.CHECK_SECONDS = PATIENCE_SECONDS
    data_loader.SLOW_SECONDS = driver_threads.CONGESTED_SECONDS = PATIENCE_SECONDS
    transactions.TRANSACTION_SECONDS = PATIENCE_SECONDS - 10  # MongoDB itself ends one after 60 s
    for name in [name for name in os.environ if name.startswith("TASKAPI_") and not name.startswith("TASKAPI_TEST_")]:
        del os.environ[name]
    if FOLDER_VARIABLE not in os.environ:
        roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_BYTES
        folder = os.environ[FOLDER_VARIABLE] = tempfile.mkdtemp(prefix="taskapi-test-", dir=MEMORY if roomy else None)
        config.add_cleanup(lambda: shutil.rmtree(folder))
    if config.getoption("store") == "mock" or URI_VARIABLE in os.environ:
        return
    server = embedded.provide(Settings(_env_file=None, data_dir=Path(os.environ[FOLDER_VARIABLE])))
    complete = server.__enter__()
    assert complete.mongodb_uri
    os.environ[URI_VARIABLE] = complete.mongodb_uri.get_secret_value()

    def stop() -> None:
        server.__exit__(None, None, None)

    config.add_cleanup(stop)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("store") == "mock":
        kept = [item for item in items if not item.get_closest_marker("real")]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Has what the suite's MongoDB logged searched for secrets as well."""
    if not hasattr(session.config, "workerinput"):
        for part in Path(os.environ[FOLDER_VARIABLE]).glob("mongod.log*"):
            keep_output(part.read_text(), "mongod")


def make_settings(**changes: Any) -> Settings:
    """Settings of the suite: a real server, a database of this worker's own, cheap password hashes."""
    values = {
        "mongodb_uri": SecretStr(os.environ.get(URI_VARIABLE, "mongodb://mock")),
        "mongodb_selection_timeout_ms": PATIENCE_SECONDS * 1000,
        "mongodb_timeout_ms": PATIENCE_SECONDS * 1000,
        "query_timeout_ms": PATIENCE_SECONDS * 1000,
        "mongodb_database": f"test_{os.environ.get('PYTEST_XDIST_WORKER', 'gw')}",
        "secret_key": SecretStr(keep_secret(SECRET, "secret key")),
        "argon2_memory_kib": 8,
        "argon2_rounds": 1,
        "registrations_per_address": 1_000_000,
        "data_dir": Path(os.environ[FOLDER_VARIABLE], os.environ.get("PYTEST_XDIST_WORKER", "gw")),
        "links_allow_private": True,
        "webhooks_allow_private": True,
        "links_timeout_seconds": PATIENCE_SECONDS,
    }
    return Settings(_env_file=None, **{**values, **changes})


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """The application, started, and a client that calls it in process."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.router.lifespan_context(app))
        stack.enter_context(stored_in(app.state.services))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=("127.0.0.1", 50000))
        yield await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://taskapi"))


@asynccontextmanager
async def another(**changes: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A second application with other settings, on the same database."""
    async with running(create_app(make_settings(**changes))) as client:
        yield client


@pytest.fixture(autouse=True)
def attempts_take_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait after failed attempts is of a second at first: it would be over before a busy machine makes the next attempt."""
    now = utc_now()
    monkeypatch.setattr(attempts, "utc_now", lambda: now)


@pytest.fixture(scope="session")
def is_mock(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("store") == "mock")


@pytest.fixture(scope="session")
async def app(is_mock: bool) -> AsyncIterator[FastAPI]:
    if is_mock:
        from tests import mock_store

        application = create_app(make_settings(), mock_store.connect)
    else:
        application = create_app(make_settings())
    async with running(application):
        yield application


@asynccontextmanager
async def emptied(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a token, on a database that is empty at first."""
    await asyncio.gather(*(collection(document).delete_many({}) for document in EMPTIED))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=("127.0.0.1", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://taskapi") as client:
        yield client


@pytest.fixture(scope="module")
async def shared(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """As ``anonymous``, but one for a module: for modules whose tests leave everything as they find it, and use no other."""
    async with emptied(app) as client:
        yield client


@pytest.fixture
async def anonymous(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a token, on an empty database."""
    async with emptied(app) as client:
        yield client


@pytest.fixture(scope="module")
async def made_anew(app: FastAPI, is_mock: bool) -> AsyncIterator[None]:
    """For modules that store lists where there are none: an index that has met one plans otherwise for ever."""
    yield
    database = app.state.services[Database]
    await asyncio.gather(*(collection(document).drop() for document in EMPTIED))
    await database.create_collections(DOCUMENTS)
    if not is_mock:  # a background job may have stored something meanwhile, in a collection without a validator
        await database.repair_validators(DOCUMENTS, lenient=False)


@pytest.fixture(scope="module")
async def moderate(app: FastAPI, is_mock: bool) -> AsyncIterator[None]:
    """For modules about documents from a past without validators: in such a database, MongoDB lets them be changed."""
    async with nullcontext() if is_mock else validation_level("moderate", DOCUMENTS):
        yield


@pytest.fixture(scope="module")
async def unvalidated(app: FastAPI, is_mock: bool) -> AsyncIterator[None]:
    """For modules whose tests have the service itself store what is incomplete."""
    async with nullcontext() if is_mock else validation_level("off", DOCUMENTS):
        yield


@pytest.fixture
async def ada(anonymous: httpx.AsyncClient) -> Account:
    """Somebody who is signed in."""
    return await make_account(anonymous, "ada")


@pytest.fixture
async def mailbox(anonymous: httpx.AsyncClient) -> AsyncIterator[Mailbox]:
    """The mails of the application, none yet."""
    box = Mailbox(make_settings().data_dir / "mailbox")
    await box.empty()
    yield box
    await box.settle()


@pytest.fixture
def copies_wait(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """The application does not write the copies of a new user name by itself: the test does; how often it was to."""
    woken: list[None] = []
    monkeypatch.setattr(app.state.services[RenamingJob], "wake", lambda: woken.append(None))
    return woken


@pytest.fixture
async def bob(anonymous: httpx.AsyncClient) -> Account:
    """Somebody else who is signed in."""
    return await make_account(anonymous, "bob")
