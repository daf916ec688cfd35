"""What owners and other workers do while an attempt is under way, or between two."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from bson import ObjectId

from taskapi.core.clock import in_utc, utc_now
from taskapi.webhooks.delivery_repository import DeliveryRepository
from taskapi.webhooks.documents import MAX_WEBHOOKS
from taskapi.webhooks.worker import MAX_PER_ACCOUNT, MAX_PER_HOOK
from tests.client import Account
from tests.stored import service
from tests.webhooks.clock import Clock, add_delivery
from tests.webhooks.hooks import add_hook, change_hook, deliveries, due_now, stored_hook, until_stored
from tests.webhooks.receiver import Receiver, answer, receiver

pytestmark = pytest.mark.real


async def test_gone_from_a_former_url_disables_nothing(ada: Account, here: Receiver, clock: Clock) -> None:
    hook = await add_hook(ada, here)
    await add_delivery(ada, hook)
    here.always = answer("410 Gone")
    here.hang()
    await clock.worker.run_due()
    await here.until(lambda: here.in_flight == 1)
    async with receiver() as elsewhere:
        assert (await ada.patch(f"/webhooks/{hook['id']}", json={"url": elsewhere.url})).status_code == 200
        here.free.set()
        await clock.worker.finish()
        stored = await stored_hook(hook)
        assert (stored["enabled"], stored["failing_since"], clock.told) == (True, None, [])
        found = await clock.attempt()
        assert (found["status"], len(elsewhere.taken)) == ("delivered", 1)


async def test_another_url_starts_the_five_days_anew(ada: Account, here: Receiver, clock: Clock) -> None:
    async with receiver() as dead:
        hook = await add_hook(ada, dead)
    await change_hook(hook, failing_since=clock.now - timedelta(days=6))
    await ada.patch(f"/webhooks/{hook['id']}", json={"url": here.url})
    here.answers = [answer("500 Oops")]
    await add_delivery(ada, hook)
    await clock.attempt()
    stored = await stored_hook(hook)
    assert (stored["enabled"], in_utc(stored["failing_since"])) == (True, clock.now)
    assert clock.told == []


async def test_a_success_ends_what_another_worker_has_noted(ada: Account, here: Receiver, clock: Clock) -> None:
    hook = await add_hook(ada, here)
    await add_delivery(ada, hook)
    here.hang()
    await clock.worker.run_due()
    await here.until(lambda: here.in_flight == 1)
    await change_hook(hook, failing_since=utc_now())
    here.free.set()
    await clock.worker.finish()
    assert (await stored_hook(hook))["failing_since"] is None


async def test_redelivery_meanwhile_holds_up_no_other(ada: Account, here: Receiver, clock: Clock) -> None:
    hook = await add_hook(ada, here)
    first = await add_delivery(ada, hook)
    here.hang()
    await clock.worker.run_due()
    await here.until(lambda: here.in_flight == 1)
    answered = await ada.post(f"/webhooks/{hook['id']}/deliveries/{first['_id']}/redeliver")
    assert answered.status_code == 202
    await add_delivery(ada, hook, event="2")
    await clock.worker.run_due()
    await here.until(lambda: here.in_flight == 2)
    here.free.set()
    await clock.worker.finish()
    await until_stored({"status": "delivered"}, 2)  # whichever worker sent it
    assert len({each.headers["webhook-id"] for each in here.taken}) == len(here.taken) == 2


async def test_redelivery_outlives_an_attempt_broken_off(ada: Account, here: Receiver) -> None:
    hook = await add_hook(ada, here)
    made, stored = await add_delivery(ada, hook), service(DeliveryRepository)
    leased = await stored.lease(made["_id"], "127.0.0.1")
    assert leased is not None
    await stored.retry(made["user"], made["hook"], made["_id"], made["give_up_at"])
    await stored.give_back(leased)
    (found,) = await deliveries({})
    assert (found["attempts"], found["status"], "slot" in found) == (0, "pending", False)


async def test_redelivery_meanwhile_outlives_the_last_attempt(ada: Account, here: Receiver, clock: Clock) -> None:
    hook = await add_hook(ada, here)
    made = await add_delivery(ada, hook, give_up_at=clock.now)
    here.answers = [answer("500 Oops")]
    here.hang()
    await clock.worker.run_due()
    await here.until(lambda: here.in_flight == 1)
    asked = await ada.post(f"/webhooks/{hook['id']}/deliveries/{made['_id']}/redeliver")
    assert (asked.status_code, asked.json()["status"]) == (202, "pending")
    here.free.set()
    await clock.worker.finish()
    await clock.attempt()  # the application's own worker was woken, but may have looked before it was due
    (found,) = await until_stored({"status": "delivered"})
    assert (found["attempts"], found["code"], "slot" in found) == (1, 200, False)
    assert [each.headers["webhook-id"] for each in here.taken] == [f"msg_{made['_id']}"] * 2


async def test_a_redelivered_event_comes_before_the_next(ada: Account, here: Receiver, clock: Clock) -> None:
    hook, task = await add_hook(ada, here), ObjectId()
    first = await add_delivery(ada, hook, task)
    await clock.attempt()
    await add_delivery(ada, hook, task, "2")
    await ada.post(f"/webhooks/{hook['id']}/deliveries/{first['_id']}/redeliver")
    for _ in range(2):
        await due_now({"status": "pending"})
        await clock.worker.run_due()
        await clock.worker.finish()
    ids = [str(each["_id"]) for each in await deliveries({})]
    assert [each.headers["webhook-id"] for each in here.taken] == [f"msg_{each}" for each in (ids[0], *ids)]


async def test_many_events_of_one_task_delay_no_other(ada: Account, here: Receiver, clock: Clock) -> None:
    hook, task = await add_hook(ada, here), ObjectId()
    for number in range(100):
        await add_delivery(ada, hook, task, f"{number:03}")
    await add_delivery(ada, hook, ObjectId(), "other")
    here.hang()
    for number in (1, 2):
        await clock.worker.run_due()
        await here.until(lambda number=number: here.in_flight >= number)  # type: ignore[misc]
    assert {each["event"] for each in await deliveries({"slot": {"$exists": True}})} == {"000", "other"}
    here.free.set()
    await clock.worker.finish()
    assert len(here.taken) == 2


async def test_a_ping_waits_for_no_next_attempt(ada: Account, here: Receiver, clock: Clock) -> None:
    hook = await add_hook(ada, here)
    path = f"/webhooks/{hook['id']}/ping"
    here.answers = [answer("500 Oops")]
    first = (await ada.post(path)).json()
    await here.until(lambda: len(here.taken) == 1)
    await until_stored({"attempted_at": {"$ne": None}})
    again = (await ada.post(path)).json()
    assert again["id"] == first["id"]
    await here.until(lambda: len(here.taken) == 2)
    assert {each.json["type"] for each in here.taken} == {"webhook.ping"}


async def test_a_ping_comes_before_what_is_due(ada: Account, here: Receiver, clock: Clock) -> None:
    hook = await add_hook(ada, here)
    await change_hook(hook, failing_since=clock.now)

    def kinds() -> list[str]:
        return [each.json["type"] for each in here.taken]

    here.always = answer("500 Oops")
    here.hang()
    for number in range(20):
        await add_delivery(ada, hook, ObjectId(), f"{number:02}")
    await clock.worker.run_due()
    await here.until(lambda: here.in_flight == 1)
    assert (await ada.post(f"/webhooks/{hook['id']}/ping")).status_code == 202
    here.free.set()
    await here.until(lambda: "webhook.ping" in kinds())
    assert kinds().index("webhook.ping") <= 3  # two workers may have begun others before


async def test_secrets_rotated_at_once_are_all_given(ada: Account, here: Receiver) -> None:
    hook = await add_hook(ada, here)
    answers = await asyncio.gather(*(ada.post(f"/webhooks/{hook['id']}/rotate-secret") for _ in range(6)))
    assert [each.status_code for each in answers] == [200] * 6
    assert len({each.json()["secret"] for each in answers}) == 6
    assert sorted(each.json()["version"] for each in answers) == [2, 3, 4, 5, 6, 7]


async def test_one_account_takes_few_slots_of_a_worker(ada: Account, clock: Clock) -> None:
    """Its receivers are slow, but answer: they do not count as failing."""
    async with AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(receiver()) for _ in range(MAX_WEBHOOKS)]
        for number, each in enumerate(slow):
            each.hang()
            hook = await add_hook(ada, each)
            for event in range(MAX_PER_HOOK):
                await add_delivery(ada, hook, event=f"{number} {event}")
        for _ in range(3):
            await clock.worker.run_due()
        assert len(await deliveries({"slot": {"$exists": True}})) == MAX_PER_ACCOUNT
        for each in slow:
            each.free.set()
        await clock.worker.finish()
