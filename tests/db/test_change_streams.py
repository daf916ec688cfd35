"""Reading change streams of a real MongoDB."""

import asyncio
import threading

import pytest

from taskapi.db import change_streams
from taskapi.db.connection import Database
from taskapi.tasks.services.changes import TaskChanges
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account
from tests.stored import service

pytestmark = pytest.mark.real
PATIENCE = 20.0  # seconds


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
    others = set(threading.enumerate())
    reader.start()
    (thread,) = (each for each in threading.enumerate() if each.name == "mongodb-changes" and each not in others)
    try:
        await asyncio.to_thread(thread.join, PATIENCE)
        assert not thread.is_alive()
    finally:
        reader._taken.set()
