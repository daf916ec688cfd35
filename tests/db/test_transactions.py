"""Transactions that fail: they write nothing, and nothing waits for MongoDB in the event loop."""

import asyncio
import threading
from concurrent.futures import Future
from typing import Any

import pymongo
import pytest
from bson import ObjectId
from pymongo.synchronous.client_session import ClientSession

from taskapi.core.errors import DatabaseUnavailable
from taskapi.db import driver_threads, transactions
from taskapi.db.connection import Session
from taskapi.db.driver_threads import QueueFull
from taskapi.db.transactions import transaction
from taskapi.webhooks.documents import WebhookDeliveryDocument
from tests.client import Account
from tests.stored import collection
from tests.tools import PATIENCE_SECONDS

pytestmark = pytest.mark.real


@pytest.fixture
def aborting(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """The threads that have aborted transactions."""
    threads, finish = [], ClientSession._finish_transaction

    def note(self: ClientSession, connection: Any, command: str) -> Any:
        if command == "abortTransaction":
            threads.append(threading.current_thread())
        return finish(self, connection, command)

    monkeypatch.setattr(ClientSession, "_finish_transaction", note)
    return threads


@pytest.mark.parametrize("failure", ["cancelled", "timeout", "no_thread"])
async def test_failed_transaction_writes_nothing(
    ada: Account, monkeypatch: pytest.MonkeyPatch, aborting: list[threading.Thread], failure: str
) -> None:
    written, found_id = asyncio.Event(), ObjectId()
    stored = collection(WebhookDeliveryDocument)

    async def write(session: Session | None) -> None:
        await stored.insert_one({"_id": found_id}, session=session, bypass_document_validation=True)
        written.set()
        if failure != "no_thread":
            await asyncio.Event().wait()

    def refuse(_: Any) -> Future[Any]:
        future = Future[Any]()
        future.set_exception(QueueFull())
        return future

    if failure == "timeout":
        monkeypatch.setattr(transactions, "TRANSACTION_SECONDS", 1)
    if failure == "no_thread":
        monkeypatch.setattr(driver_threads.threads.ends, "submit", refuse)
    running, writing = asyncio.create_task(transaction(stored, write)), asyncio.create_task(written.wait())
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.wait([running, writing], return_when=asyncio.FIRST_COMPLETED)
    writing.cancel()
    if failure == "cancelled":
        running.cancel()
    with pytest.raises((asyncio.CancelledError, DatabaseUnavailable, QueueFull)) as failed:
        await running
    assert ("took too long" in str(failed.value)) is (failure == "timeout")
    assert threading.main_thread() not in aborting
    assert await stored.find_one({"_id": found_id}) is None
    with pymongo.timeout(PATIENCE_SECONDS / 2):
        await stored.insert_one({"_id": found_id}, bypass_document_validation=True)  # nothing is locked


async def test_write_that_begins_after_cancellation_fails(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was in its thread already, and waited for a connection."""
    begun, released, ended = threading.Event(), threading.Event(), threading.Event()
    apply, failures = ClientSession._apply_to, list[Exception]()
    stored = collection(WebhookDeliveryDocument)

    def wait(self: ClientSession, command: Any, *arguments: Any) -> None:
        if command.get("insert") != stored.name:
            return apply(self, command, *arguments)
        begun.set()
        assert released.wait(PATIENCE_SECONDS)
        try:
            apply(self, command, *arguments)
        except Exception as error:
            failures.append(error)
            raise
        finally:
            ended.set()

    async def write(session: Session | None) -> None:
        await stored.insert_one({}, session=session, bypass_document_validation=True)

    monkeypatch.setattr(ClientSession, "_apply_to", wait)
    running = asyncio.create_task(transaction(stored, write))
    assert await asyncio.to_thread(begun.wait, PATIENCE_SECONDS)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    released.set()
    assert await asyncio.to_thread(ended.wait, PATIENCE_SECONDS)
    assert len(failures) == 1
    assert await stored.count_documents({}) == 0
