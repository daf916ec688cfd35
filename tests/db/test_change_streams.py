"""Reading change streams of a real MongoDB."""

import asyncio
import threading

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from taskapi.db import change_streams
from taskapi.db.connection import Client, Database, make_client
from taskapi.tasks.services.changes import TaskChanges
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account
from tests.conftest import make_settings
from tests.stored import service
from tests.tools import PATIENCE_SECONDS

pytestmark = pytest.mark.real


class StopsMeanwhile(threading.Event):
    """The event that a reader waits for when nobody takes what it has read; the reader is stopped just before that."""

    def __init__(self, reader: change_streams._Reader) -> None:
        super().__init__()
        self._reader = reader

    def clear(self) -> None:
        self._reader.stop()
        super().clear()


async def test_stop_of_a_full_reader_ends_it(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_streams, "MAX_WAITING", 1)
    since = await service(TaskChanges).now()
    await ada.make_task()
    reader = change_streams._Reader(service(Database).collection(TaskDocument), [], None, since)
    reader._taken = StopsMeanwhile(reader)
    run, ended = reader._run, threading.Event()

    def run_to_end() -> None:
        run()
        ended.set()

    monkeypatch.setattr(reader, "_run", run_to_end)
    reader.start()
    try:
        assert await asyncio.to_thread(ended.wait, PATIENCE_SECONDS)
    finally:
        reader._taken.set()


class Answers(CommandListener):
    """MongoDB's answers to those who wait for changes."""

    def __init__(self) -> None:
        self.wanted, self.failures = threading.Semaphore(0), 0

    def started(self, event: CommandStartedEvent) -> None:
        pass

    def succeeded(self, event: CommandSucceededEvent) -> None:
        if event.command_name == "getMore":
            self.wanted.release()

    def failed(self, event: CommandFailedEvent) -> None:
        self.failures += event.command_name == "getMore"


async def test_a_short_timeout_interrupts_no_idle_stream(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    answers, settings = Answers(), make_settings()
    monkeypatch.setattr(change_streams, "AWAIT_MS", 5000)
    options = {"timeoutMS": 4500, "event_listeners": [answers]}
    client: Client = make_client(AsyncIOMotorClient, settings, options)
    try:
        tasks = Database(client, settings.mongodb_database).collection(TaskDocument)
        async with change_streams.open_stream(tasks, []):
            assert await asyncio.to_thread(answers.wanted.acquire, timeout=PATIENCE_SECONDS)
        assert answers.failures == 0
    finally:
        client.close()
