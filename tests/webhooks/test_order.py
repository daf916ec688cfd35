"""Several receivers and several workers: none waits for a slow one, and events of a task never overtake each other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from bson import ObjectId

from taskapi.core.clock import utc_now
from taskapi.core.resolver import Resolver
from taskapi.webhooks import backoff
from taskapi.webhooks.deliveries import new_delivery
from taskapi.webhooks.delivery_repository import LEASE, DeliveryRepository
from taskapi.webhooks.documents import MAX_IN_FLIGHT_TO_HOST, WebhookDeliveryDocument
from taskapi.webhooks.jobs import DeliveryJob
from taskapi.webhooks.sender import WebhookSender
from taskapi.webhooks.worker import MAX_PER_HOOK, DeliveryWorker
from tests.client import Account
from tests.stored import collection, service
from tests.tools import PATIENCE_SECONDS
from tests.webhooks.clock import delivery_worker
from tests.webhooks.hooks import BSON, add_hook, deliveries, due_now, until_stored
from tests.webhooks.receiver import Receiver, answer, receiver

pytestmark = pytest.mark.real


async def tell(_: ObjectId) -> None:
    pass


@pytest.fixture
async def workers() -> AsyncIterator[list[DeliveryWorker]]:
    """Three workers with jobs that run, as in three processes."""
    async with AsyncExitStack() as stack:
        found = list[DeliveryWorker]()
        for _ in range(3):
            sender = await stack.enter_async_context(WebhookSender(Resolver(), allow_private=True))
            found.append(delivery_worker(sender, tell))
        jobs = [asyncio.create_task(DeliveryJob("webhooks", each, 0.05).run()) for each in found]
        yield found
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)


async def add(account: Account, hook: BSON, *events: tuple[ObjectId | None, str]) -> None:
    made = [
        new_delivery(
            ObjectId(account.id),
            ObjectId(hook["id"]),
            "task.updated",
            event,
            f'{{"type":"task.updated","data":{{"n":"{event}"}}}}'.encode(),
        )
        | {"task": task}
        for task, event in events
    ]
    await service(DeliveryRepository).add(made)


@pytest.mark.usefixtures("workers")
async def test_each_event_is_sent_once_by_three_workers(ada: Account, here: Receiver) -> None:
    hook = await add_hook(ada, here)
    await add(ada, hook, *((ObjectId(), f"{number:03}") for number in range(60)))
    await until_stored({"status": "delivered"}, 60)
    assert sorted(each.data["n"] for each in here.taken) == [f"{number:03}" for number in range(60)]
    assert len({each.headers["webhook-id"] for each in here.taken}) == 60


@pytest.mark.usefixtures("workers")
async def test_events_of_a_task_keep_their_order(ada: Account, here: Receiver) -> None:
    hook = await add_hook(ada, here)
    tasks = [ObjectId() for _ in range(4)]
    here.answers = [answer("200 OK")] * 7
    await add(ada, hook, *((task, f"{number:02}-{place}") for number in range(12) for place, task in enumerate(tasks)))
    await until_stored({"status": "delivered"}, 48)
    for place in range(len(tasks)):
        numbers = [each.data["n"] for each in here.taken if each.data["n"].endswith(f"-{place}")]
        assert numbers == sorted(numbers)


@pytest.mark.usefixtures("workers")
async def test_a_later_event_waits_for_an_earlier_one(ada: Account, here: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "PAUSES", [timedelta(hours=1)])
    hook, task = await add_hook(ada, here), ObjectId()
    here.answers = [answer("500 Oops")]
    await add(ada, hook, (task, "1"), (task, "2"), (task, "3"))
    await until_stored({"attempts": 1})
    await add(ada, hook, (ObjectId(), "other"))
    await until_stored({"event": "other", "status": "delivered"})
    assert [each.data["n"] for each in here.taken] == ["1", "other"]
    await due_now({"event": {"$in": ["2", "3"]}})
    await until_stored({"status": "pending"}, 3)
    await due_now({"event": "1"})
    await until_stored({"status": "delivered"}, 4)
    assert [each.data["n"] for each in here.taken] == ["1", "other", "1", "2", "3"]


@pytest.mark.usefixtures("workers")
async def test_at_most_five_in_flight_to_a_host(ada: Account, bob: Account, here: Receiver) -> None:
    hooks = [(account, await add_hook(account, here)) for account in (ada, bob) for _ in range(3)]
    here.hang()
    for account, hook in hooks:
        await add(account, hook, *((ObjectId(), f"{number}") for number in range(5)))
    await here.until(lambda: here.in_flight == MAX_IN_FLIGHT_TO_HOST)
    async with receiver() as other:
        await add(bob, await add_hook(bob, other), (ObjectId(), "elsewhere"))
        await other.until(lambda: len(other.taken) == 1)
    assert here.in_flight == MAX_IN_FLIGHT_TO_HOST
    here.free.set()
    await until_stored({"status": "delivered"}, 31)
    assert here.most == MAX_IN_FLIGHT_TO_HOST


@pytest.mark.usefixtures("workers")
async def test_a_slow_receiver_delays_no_other(ada: Account, bob: Account, here: Receiver) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(20):
            slow = await stack.enter_async_context(receiver())
            slow.hang()
            await add(ada, await add_hook(ada, slow), *((ObjectId(), f"{number}") for number in range(10)))
        hook = await add_hook(bob, here)
        await add(bob, hook, *((ObjectId(), f"{number}") for number in range(20)))
        await until_stored({"hook": ObjectId(hook["id"]), "status": "delivered"}, 20)
        assert await deliveries({"hook": {"$ne": ObjectId(hook["id"])}, "status": "delivered"}) == []


async def test_one_webhook_takes_few_slots_of_a_worker(ada: Account, here: Receiver) -> None:
    here.hang()
    hook = await add_hook(ada, here)
    await add(ada, hook, *((ObjectId(), f"{number}") for number in range(9)))
    async with WebhookSender(Resolver(), allow_private=True) as sender:
        alone = delivery_worker(sender, tell)
        for _ in range(3):
            await alone.run_due()
        await here.until(lambda: here.in_flight == MAX_PER_HOOK)
        assert len(await deliveries({"slot": {"$exists": True}})) == MAX_PER_HOOK
        await alone.close()
    found = await deliveries({})
    assert {(each["status"], each["attempts"], "slot" in each) for each in found} == {("pending", 0, False)}


async def test_what_a_killed_worker_had_is_sent_again(ada: Account, here: Receiver) -> None:
    hook = await add_hook(ada, here)
    await add(ada, hook, *((ObjectId(), f"{number}") for number in range(MAX_IN_FLIGHT_TO_HOST)))
    repository = service(DeliveryRepository)
    for each in await deliveries({}):  # leased by workers that are no more
        assert await repository.lease(each["_id"], here.base.removeprefix("http://"))
    async with WebhookSender(Resolver(), allow_private=True) as sender:
        left = delivery_worker(sender, tell)
        await left.run_due()
        assert here.taken == []
        for each in await deliveries({}):
            assert each["leased_until"] - each["created_at"] >= LEASE.duration
        past = {"leased_until": utc_now(), "next_attempt_at": utc_now()}
        await collection(WebhookDeliveryDocument).update_many({}, {"$set": past})
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(await deliveries({"status": "delivered"})) < MAX_IN_FLIGHT_TO_HOST:
                await left.run_due()
                await left.finish()
    assert len(here.taken) == MAX_IN_FLIGHT_TO_HOST


async def test_a_backlog_waits_for_no_killed_attempt(ada: Account, bob: Account, here: Receiver) -> None:
    hooks = [(account, await add_hook(account, here)) for account in (ada, bob)]
    await add(ada, hooks[0][1], *((ObjectId(), f"taken {number}") for number in range(MAX_IN_FLIGHT_TO_HOST)))
    repository = service(DeliveryRepository)
    running, *killed = [each["_id"] for each in await deliveries({})]
    for each in (running, *killed):
        assert await repository.lease(each, here.base.removeprefix("http://"))
    past = utc_now() - timedelta(minutes=1)
    await collection(WebhookDeliveryDocument).update_many({"_id": {"$in": killed}}, {"$set": {"leased_until": past}})
    for account, hook in hooks:
        await add(account, hook, *((ObjectId(), f"{number:02}") for number in range(20)))
    async with WebhookSender(Resolver(), allow_private=True) as sender:
        left = delivery_worker(sender, tell)
        await left.run_due()
        await here.until(lambda: bool(here.taken))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await deliveries({"status": "pending", "event": {"$lt": "taken"}}):
                await left.run_due()
                await left.finish()
        assert [each["_id"] for each in await deliveries({"slot": {"$exists": True}})] == [running]
        await collection(WebhookDeliveryDocument).update_one({"_id": running}, {"$set": {"leased_until": past}})
        await due_now({"status": "pending"})
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await deliveries({"status": "pending"}):
                await left.run_due()
                await left.finish()
    assert len(here.taken) == 45
    assert await deliveries({"slot": {"$exists": True}}) == []


async def test_what_was_put_off_meanwhile_is_not_leased(ada: Account, here: Receiver) -> None:
    hook, repository = await add_hook(ada, here), service(DeliveryRepository)
    await add(ada, hook, (ObjectId(), "1"))
    (found,) = await repository.find_due(ObjectId(hook["id"]), 1)
    later = {"$set": {"next_attempt_at": utc_now() + timedelta(hours=1)}}
    await collection(WebhookDeliveryDocument).update_one({"_id": found["_id"]}, later)
    assert await repository.lease(found["_id"], "host") is None
