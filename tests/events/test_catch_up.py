"""Who has missed much is told from the oplog, at no cost to others."""

import threading
import time

import pytest
from bson import ObjectId

from taskapi.db import change_streams
from taskapi.events.catch_up import CatchUp
from taskapi.events.positions import Position
from taskapi.events.rendering import EventReader, EventRenderer
from taskapi.tasks.services.changes import TaskChanges
from tests.client import make_account
from tests.conftest import another
from tests.stored import service

PATIENCE_SECONDS = 10

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("anonymous")]


async def test_connection_is_free_soon_after_catching_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_streams, "AWAIT_MS", 60_000)
    async with another(mongodb_timeout_ms=60_000) as client:
        changes, others = service(TaskChanges), set(threading.enumerate())
        ada = await make_account(client, "ada")
        begin = await changes.now()
        task = await ada.make_task("Paint the fence")
        missed = CatchUp(changes, service(EventRenderer)).from_oplog(
            Position(begin), Position(await changes.now()), EventReader(ObjectId(ada.id), "ada")
        )
        assert [str(own.change.task_id) async for part in missed for own in part] == [task["id"]]
        deadline = time.monotonic() + PATIENCE_SECONDS
        for reader in {each for each in threading.enumerate() if each.name == "mongodb-changes"} - others:
            reader.join(deadline - time.monotonic())
            assert not reader.is_alive()
