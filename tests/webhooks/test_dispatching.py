"""A dispatcher that has much to do, is slow, or fails: it keeps its lease, little in memory, and all accounts' events moving."""

import asyncio
from typing import Any

import pytest
from bson import ObjectId

from taskapi.core.clock import utc_now
from taskapi.db.service_state import WEBHOOKS, ServiceStateDocument
from taskapi.events.positions import PositionCodec
from taskapi.events.rendering import EventRenderer
from taskapi.tasks.services.changes import TaskChanges
from taskapi.webhooks import delivery_repository, dispatcher
from taskapi.webhooks.delivery_repository import DeliveryRepository
from taskapi.webhooks.dispatch_repository import DispatchRepository, Place
from taskapi.webhooks.dispatcher import Dispatcher
from taskapi.webhooks.documents import WebhookDocument
from taskapi.webhooks.jobs import DeliveryJob
from tests.client import Account, is_problem
from tests.stored import collection, service
from tests.webhooks.clock import add_delivery
from tests.webhooks.hooks import add_hook, deliveries, due_now, until_stored
from tests.webhooks.receiver import OK, Receiver, answer
from tests.webhooks.test_dispatcher import state

pytestmark = pytest.mark.real


async def create_many(account: Account, number: int) -> None:
    operations = [{"op": "create", "task": {"title": f"Task {each}"}} for each in range(number)]
    assert (await account.post("/tasks/bulk", json={"operations": operations})).status_code == 200


async def test_many_changes_go_to_many_webhooks_in_parts(ada: Account, here: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is stored at a time is a part of one webhook's, so the memory that it takes does not grow with the changes."""
    monkeypatch.setattr(dispatcher, "AT_A_TIME", 10)
    sizes, add = [], DeliveryRepository.add

    async def note(self: DeliveryRepository, made: list[Any]) -> None:
        sizes.append(len(made))
        await add(self, made)

    monkeypatch.setattr(DeliveryRepository, "add", note)
    for _ in range(3):
        await add_hook(ada, here, events=["task.created"])
    await create_many(ada, 95)
    await until_stored({}, 3 * 95)
    assert max(sizes) <= 10
    assert len(await collection_events()) == 95


async def collection_events() -> set[str]:
    return {each["event"] for each in await deliveries({})}


async def test_the_lease_is_renewed_within_a_batch(ada: Account, here: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes: a batch for which the lease is too short would be begun anew by each worker in turn, for ever."""
    renewals, renew = 0, DispatchRepository.renew

    async def count(self: DispatchRepository, lease: Any) -> int:
        nonlocal renewals
        renewals += 1
        return await renew(self, lease)

    hooks = [await add_hook(ada, here) for _ in range(5)]
    await ada.make_task()
    await until_stored({}, len(hooks))
    monkeypatch.setattr(dispatcher, "RENEWAL_SECONDS", -1.0)
    monkeypatch.setattr(DispatchRepository, "renew", count)
    before = renewals
    await ada.make_task()
    await until_stored({}, 2 * len(hooks))
    assert renewals - before >= len(hooks)


async def test_a_webhook_that_was_never_announced_is_found(ada: Account, here: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker was killed between two writes, or a script has enabled it."""
    await add_hook(ada, here, events=["task.purged"])
    found = await collection(WebhookDocument).find_one({})
    assert found is not None
    begin = Place(time=await service(TaskChanges).now()).write()
    await collection(WebhookDocument).insert_one({**found, "_id": ObjectId(), "events": ["task.created"], "begins_after": begin})
    monkeypatch.setattr(dispatcher, "REREADING_SECONDS", 0.0)
    task = await ada.make_task()
    (event,) = await here.events(1)
    assert event["task_id"] == task["id"]


async def test_what_cannot_be_rendered_stops_nobody(
    ada: Account, bob: Account, here: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    render = EventRenderer.render

    def fail(self: EventRenderer, own: Any, owner: Any) -> Any:
        if owner.id == ada.id:
            raise RuntimeError("of a kind that nobody has thought of")
        return render(self, own, owner)

    monkeypatch.setattr(EventRenderer, "render", fail)
    await add_hook(ada, here)
    await add_hook(bob, here)
    spoiled, sound = await ada.make_task(), await bob.make_task()
    (event,) = await here.events(1)
    assert event["task_id"] == sound["id"]
    assert f"an event of the task {spoiled['id']} cannot be rendered" in caplog.text


async def test_a_worker_that_lost_its_lease_harms_nothing(ada: Account, here: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its deliveries are those that the next worker stores as well: each event is there once, and the place is the other's."""
    await add_hook(ada, here)
    await ada.make_task("First")
    await here.events(1)
    begun, go_on = asyncio.Event(), asyncio.Event()
    current = TaskChanges.current

    async def wait(self: TaskChanges, *arguments: Any) -> Any:
        begun.set()
        await go_on.wait()
        return await current(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(TaskChanges, "current", wait)
        await ada.make_task("Second")
        await begun.wait()
    before = await state()
    assert before is not None
    thief = {"holder": ObjectId(), "leased_until": utc_now()}
    await collection(ServiceStateDocument).update_one({"_id": WEBHOOKS}, {"$set": thief})
    other = asyncio.create_task(service(Dispatcher).run())  # takes the lease, and dispatches from the old place
    events = await here.events(2)
    assert [event["task"]["title"] for event in events] == ["First", "Second"]
    after = await state()
    go_on.set()
    await ada.make_task("Third")
    await here.events(3)
    other.cancel()
    await asyncio.gather(other, return_exceptions=True)
    assert after is not None
    assert after["place"] > before["place"]
    assert len(await deliveries({})) == len(here.taken) == 3


async def gap_of(here: Receiver) -> dict[str, Any]:
    """The first gap that a receiver is told of."""
    here.always = OK
    await due_now({"type": "webhook.gap"})
    service(DeliveryJob).wake()
    await here.until(lambda: any(each.json["type"] == "webhook.gap" for each in here.taken))
    return next(each.data for each in here.taken if each.json["type"] == "webhook.gap")


async def test_too_many_pending_events_become_a_gap(ada: Account, here: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_repository, "MAX_PENDING", 3)
    here.always = answer("503 Busy")
    hook = await add_hook(ada, here)
    stored = []
    for number in range(5):
        task = await ada.make_task(f"Task {number}")
        stored += await until_stored({"task": ObjectId(task["id"])})
    assert [each["task"] for each in await deliveries({})] == [stored[3]["task"], None, stored[4]["task"]]
    gap = await gap_of(here)
    since, end = [service(PositionCodec).read(gap[name], ObjectId(ada.id)) for name in ("since", "id")]
    assert since.is_before(stored[0]["event"])
    assert end.is_before(stored[3]["event"])
    changes = (await ada.get("/tasks/changes", params={"since": gap["since"]})).json()["changes"]
    assert {each["task_id"] for each in changes} >= {str(each["task"]) for each in stored}
    assert gap["id"] in {each["event_id"] for each in (await ada.get(f"/webhooks/{hook['id']}/deliveries")).json()}


async def test_gap_of_damaged_deliveries_asks_for_everything(
    ada: Account, here: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_repository, "MAX_PENDING", 1)
    here.always = answer("503 Busy")
    await add_delivery(ada, await add_hook(ada, here), event="1")
    await ada.make_task()
    await until_stored({"type": "task.created"})
    gap = await gap_of(here)
    is_problem(await ada.get("/tasks/changes", params={"since": gap["since"]}), 410, "position_expired")
