"""One kind of position: what begins by delta sync goes on by the feed, and the other way round, and misses nothing."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from bson import ObjectId

from taskapi.core.settings import Settings
from taskapi.events.rendering import RenderedEvent
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, make_account, signed_in
from tests.conftest import another
from tests.events.copies import Copy, all_tasks, page
from tests.events.test_feed import following
from tests.stored import collection, service
from tests.writers import write_much

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("copies_wait")]

EVENTS, WRITERS = 60, 2
LAST = "The last one of a writer"


@pytest.fixture
async def anonymous() -> AsyncIterator[httpx.AsyncClient]:
    """One on a new database: in the minutes that a delta sync repeats, other tests may have dropped the tasks of theirs."""
    name = f"feed_{ObjectId()}"
    async with another(mongodb_database=name) as client:
        yield client
        await collection(TaskDocument).database.client.drop_database(name)


async def listen(copy: Copy, until: asyncio.Event) -> None:
    """Applies events from the copy's position on. After some, it stops the writers, and goes on until the last of each."""
    last = set[str]()
    async with following(copy.account, copy.since) as stream:
        await stream.next()
        for number in itertools.count():
            if number == EVENTS:
                until.set()
            message = await stream.next()
            assert isinstance(message, RenderedEvent), message
            event = json.loads(message.json)
            copy.apply(event)
            if event.get("task", {}).get("title") == LAST:
                last.add(event["task_id"])
            if len(last) == WRITERS:
                return


async def write_meanwhile(account: Account, until: asyncio.Event) -> None:
    await write_much(account, until)
    await account.make_task(LAST)


@pytest.mark.parametrize("limit", [1, 5, 1000])
async def test_feed_goes_on_where_a_run_began(anonymous: httpx.AsyncClient, limit: int) -> None:
    """The first run is read in pages while two workers write; the stream begins when it is complete."""
    async with another(mongodb_database=service(Settings).mongodb_database) as second:
        ada = await make_account(anonymous, "ada")
        for number in range(15):
            await ada.make_task(f"Task {number}")
        until, copy = asyncio.Event(), Copy(ada, limit)
        writing = [asyncio.create_task(write_meanwhile(each, until)) for each in (ada, await signed_in(second, ada))]
        await copy.follow()
        await asyncio.gather(listen(copy, until), *writing)
        assert copy.tasks == await all_tasks(ada)


async def test_run_goes_on_where_the_feed_was_left(ada: Account) -> None:
    task = await ada.make_task()
    copy = Copy(ada)
    await copy.follow()
    async with following(ada, copy.since) as stream:
        await stream.next()
        await ada.patch(f"/tasks/{task['id']}", json={"title": "While listening"})
        message = await stream.next()
        assert isinstance(message, RenderedEvent)
        copy.apply(json.loads(message.json))
        copy.since = message.id
    await ada.patch(f"/tasks/{task['id']}", json={"title": "While away"})
    gone = await ada.make_task("Made and deleted")
    await ada.delete(f"/tasks/{gone['id']}")
    await copy.follow()
    assert copy.tasks == await all_tasks(ada)


async def test_feed_repeats_what_an_unfinished_run_lacks(ada: Account) -> None:
    copy = Copy(ada)
    await copy.follow()
    for number in range(6):
        await ada.make_task(f"Task {number}")
    unfinished = await page(ada, copy.since, 2)
    assert unfinished["more"]
    async with following(ada, unfinished["next"]) as stream:
        await stream.next()
        for event in await stream.events(6):
            copy.apply(event)
    assert copy.tasks == await all_tasks(ada)
