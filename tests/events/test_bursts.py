"""Many changes at once: whoever reads is told of all of them."""

import asyncio

import pytest

from taskapi.events.feed import ChangeFeed
from taskapi.events.follower import MAX_WAITING, Hello, ResetReason
from taskapi.events.rendering import EventReader, RenderedEvent
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account
from tests.events.test_feed import PATIENCE, following, user_of
from tests.stored import collection, service

pytestmark = pytest.mark.real
MANY = 5 * MAX_WAITING


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


async def test_idle_follower_is_waited_for_once(ada: Account) -> None:
    user = EventReader.of(await user_of(ada))
    feed = service(ChangeFeed)
    async with following(ada) as other:
        await other.next()
        with feed.join(user) as idle:
            await import_many(ada)
            async with asyncio.timeout(PATIENCE):
                while not idle.is_given_up:  # noqa: ASYNC110 - nobody tells when it is
                    await asyncio.sleep(0)
            await idle.take()
            assert not idle.is_given_up
