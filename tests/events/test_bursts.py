"""Many changes at once: whoever reads is told of all of them."""

import asyncio
from math import inf

import pytest
from fastapi import FastAPI

from taskapi.events.feed import ChangeFeed
from taskapi.events.follower import MAX_WAITING, Follower, Hello, ResetReason
from taskapi.events.rendering import EventReader, RenderedEvent
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account
from tests.events.test_feed import following, user_of
from tests.stored import collection
from tests.tools import PATIENCE_SECONDS

pytestmark = pytest.mark.real
MANY = 5 * MAX_WAITING


@pytest.fixture(autouse=True)
def patient(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> ChangeFeed:
    """The feed has waited for nobody yet, and waits longer: a busy machine may take a second to read what waits."""
    feed: ChangeFeed = app.state.services[ChangeFeed]
    monkeypatch.setattr(feed, "_waits", 0)
    monkeypatch.setattr("taskapi.events.feed.READING_SECONDS", 5)
    return feed


async def import_many(account: Account) -> None:
    lines = "".join(f'{{"title": "Task {number}"}}\n' for number in range(MANY))
    answer = await account.post("/tasks/import", content=lines, headers={"Content-Type": "application/x-ndjson"})
    assert answer.status_code == 200, answer.text


async def test_burst_makes_no_reader_slow(ada: Account) -> None:
    await import_many(ada)
    async with following(ada) as idle, following(ada) as feed:
        for each in (idle, feed):  # the one that reads nothing more keeps nothing from the other
            assert isinstance(await each.next(), Hello)
        changing = asyncio.gather(collection(TaskDocument).update_many({}, {"$set": {"priority": 4}, "$inc": {"version": 1}}))
        for number in range(MANY):
            message = await feed.next()
            assert isinstance(message, RenderedEvent), (number, message)
            await asyncio.sleep(0)
        await changing
        assert idle.follower.reset is ResetReason.slow


async def test_idle_follower_is_waited_for_once(ada: Account, patient: ChangeFeed) -> None:
    user = EventReader.of(await user_of(ada))
    async with following(ada) as other:
        await other.next()
        with patient.join(user) as idle:
            await import_many(ada)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not idle.is_given_up:  # noqa: ASYNC110 - nobody tells when it is
                    await asyncio.sleep(0)
            await idle.take()
            assert not idle.is_given_up


async def test_waits_for_idle_followers_are_limited(ada: Account, patient: ChangeFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or an account with many of them, which read a little, would hold up the events of all others."""
    user = EventReader.of(await user_of(ada))
    monkeypatch.setattr(Follower, "is_half_full", True)
    monkeypatch.setattr("taskapi.events.feed.READING_SECONDS", 0)
    monkeypatch.setattr("taskapi.events.feed.MAX_WAITS", 2)
    with patient.join(user) as idle:
        for _ in range(2):
            idle.is_given_up = False
            await patient._let_read([user.object_id])
            assert idle.is_given_up
        idle.is_given_up = False
        monkeypatch.setattr("taskapi.events.feed.READING_SECONDS", inf)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await patient._let_read([user.object_id])
        assert not idle.is_given_up
