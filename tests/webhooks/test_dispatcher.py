"""Changes become deliveries: each once for each webhook that wants it, whoever dispatches, and none without a word."""

import asyncio
import json
import time

import pytest
from bson import ObjectId

from taskapi.accounts.users.documents import UserDocument
from taskapi.core.clock import utc_now
from taskapi.db.service_state import ServiceStateDocument
from taskapi.events.positions import PositionCodec
from taskapi.tasks.services.changes import TaskChanges
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.webhooks.deliveries import new_delivery
from taskapi.webhooks.delivery_repository import DeliveryRepository
from taskapi.webhooks.dispatch_repository import DispatchRepository, LeaseLost, Place
from taskapi.webhooks.dispatcher import Dispatcher
from taskapi.webhooks.jobs import DispatchJob
from taskapi.webhooks.payloads import MAX_BYTES
from tests.client import Account
from tests.conftest import another
from tests.stored import collection, service
from tests.tools import PATIENCE_SECONDS
from tests.webhooks.hooks import BSON, add_hook, deliveries, stored_hook, until_stored
from tests.webhooks.receiver import Receiver, receiver

pytestmark = pytest.mark.real


async def state() -> BSON | None:
    return await collection(ServiceStateDocument).find_one({"_id": "webhooks"})


async def until_no_state() -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while await state():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_without_webhooks_there_is_no_place(ada: Account) -> None:
    await ada.make_task()
    await service(Dispatcher).run()  # returns
    assert await state() is None


async def test_the_place_goes_with_the_last_webhook(ada: Account, here: Receiver) -> None:
    hook = await add_hook(ada, here)
    await ada.make_task()
    await here.events(1)
    assert await state()
    await ada.delete(f"/webhooks/{hook['id']}")
    await ada.make_task()  # so that it looks at once
    await until_no_state()
    assert await deliveries({}) == []


async def test_only_wanted_types_are_sent(ada: Account, here: Receiver) -> None:
    await add_hook(ada, here, events=["task.deleted"])
    task = await ada.make_task()
    await ada.delete(f"/tasks/{task['id']}")
    (event,) = await here.events(1)
    assert (event["type"], event["task_id"], "task" in event) == ("task.deleted", task["id"], False)
    assert len(await deliveries({})) == 1


async def test_filters_choose_tasks_and_tell_who_left(ada: Account, here: Receiver) -> None:
    await add_hook(ada, here, where={"tags": "work"})
    mine = await ada.make_task("For me", tags=["home"])
    work = await ada.make_task("For work", tags=["work"])
    await here.events(1)
    await ada.patch(f"/tasks/{mine['id']}", json={"priority": 5})
    await ada.patch(f"/tasks/{work['id']}", json={"tags": []})
    events = await here.events(2)
    assert [(event["type"], event["task_id"]) for event in events] == [("task.created", work["id"]), ("task.left", work["id"])]


async def test_nobody_gets_events_of_others(ada: Account, bob: Account, here: Receiver) -> None:
    async with receiver() as other:
        await add_hook(ada, here)
        await add_hook(bob, other)
        task, his = await ada.make_task("Ada's own"), await bob.make_task("Bob's own")
        (mine,), (theirs,) = await here.events(1), await other.events(1)
    assert (mine["task_id"], theirs["task_id"]) == (task["id"], his["id"])
    assert len(await deliveries({})) == 2


async def test_what_scripts_write_is_sent(ada: Account, here: Receiver) -> None:
    await add_hook(ada, here)
    task = await ada.make_task()
    await collection(TaskDocument).update_one({"_id": ObjectId(task["id"])}, {"$set": {"title": "By a script"}})
    _, event = await here.events(2)
    assert (event["type"], event["changed"], event["task"]["title"]) == ("task.updated", ["title"], "By a script")


async def test_the_event_is_a_position_of_its_owner(ada: Account, bob: Account, here: Receiver) -> None:
    await add_hook(ada, here)
    task = await ada.make_task("Call back")
    (event,) = await here.events(1)
    assert here.taken[0].json == {"type": "task.created", "timestamp": event["at"], "data": event}
    assert event["task"] == (await ada.get(f"/tasks/{task['id']}")).json()
    place = service(PositionCodec).read(event["id"], ObjectId(ada.id))
    (stored,) = await deliveries({})
    assert (stored["event"], stored["position"]) == (place.token, event["id"])


async def test_a_large_task_is_named_not_sent(ada: Account, here: Receiver) -> None:
    await add_hook(ada, here)
    checklist = [{"text": f"{number} " + "漢" * 190} for number in range(100)]
    metadata = {f"key{number}": "ä" * 70 for number in range(100)}
    task = await ada.make_task("Large", checklist=checklist, description="é" * 2000, metadata=metadata)
    (event,) = await here.events(1)
    assert len(json.dumps(task, ensure_ascii=False).encode()) > MAX_BYTES
    assert len(here.taken[0].body) < 2000
    assert "task" not in event
    assert (event["task_id"], event["task_url"], event["version"]) == (task["id"], f"/tasks/{task['id']}", 1)


async def test_a_disabled_account_has_no_deliveries(ada: Account, bob: Account, here: Receiver) -> None:
    await add_hook(ada, here)
    await add_hook(bob, here)
    task = await ada.make_task()
    await here.events(1)
    await collection(UserDocument).update_one({"_id": ObjectId(ada.id)}, {"$set": {"disabled": True}})
    await collection(TaskDocument).update_one({"_id": ObjectId(task["id"])}, {"$set": {"title": "By a script"}})
    await bob.make_task()
    await here.events(2)
    assert len(await deliveries({"user": ObjectId(ada.id)})) == 1


async def test_a_webhook_enabled_again_gets_what_follows(ada: Account, here: Receiver) -> None:
    hook = await add_hook(ada, here)
    await ada.patch(f"/webhooks/{hook['id']}", json={"enabled": False})
    await ada.make_task("Not sent")
    await ada.patch(f"/webhooks/{hook['id']}", json={"enabled": True})
    await ada.make_task("Sent")
    (event,) = await here.events(1)
    assert event["task"]["title"] == "Sent"
    begin = (await stored_hook(hook))["begins_after"]
    await ada.patch(f"/webhooks/{hook['id']}", json={"enabled": True})  # what it already was
    assert (await stored_hook(hook))["begins_after"] == begin


async def test_what_is_dispatched_twice_is_sent_once(ada: Account, here: Receiver) -> None:
    made = new_delivery(ObjectId(ada.id), ObjectId(), "task.created", "82", b"{}")
    repository = service(DeliveryRepository)
    await repository.add([made])
    await repository.add([{**made, "_id": ObjectId()}, {**made, "_id": ObjectId(), "event": "83"}])
    assert [each["event"] for each in await deliveries({})] == ["82", "83"]


async def test_another_worker_goes_on_from_the_place(ada: Account, here: Receiver) -> None:
    """The lease of a killed worker ends, and nothing that happened meanwhile is lost."""
    await add_hook(ada, here)
    await ada.make_task("First")
    await here.events(1)
    thief = {"holder": ObjectId(), "leased_until": utc_now()}  # the worker of this application loses its lease
    await collection(ServiceStateDocument).update_one({"_id": "webhooks"}, {"$set": thief})
    await ada.make_task("Second")
    async with another():
        service(DispatchJob).wake()
        events = await here.events(2)
    assert [event["task"]["title"] for event in events] == ["First", "Second"]
    await until_stored({}, 2)


async def test_a_worker_without_the_lease_moves_nothing(ada: Account) -> None:
    repository = service(DispatchRepository)
    await repository.announce(await service(TaskChanges).now())
    taken = await repository.take()
    assert taken is not None
    lease = taken[0]
    assert await repository.take() is None
    await collection(ServiceStateDocument).update_one({"_id": "webhooks"}, {"$set": {"holder": ObjectId()}})
    for call in (repository.renew(lease), repository.save_place(lease, Place(token="82"))):
        with pytest.raises(LeaseLost):
            await call
    assert not await repository.stop(lease, 1)


async def test_a_webhook_made_meanwhile_keeps_the_place(ada: Account) -> None:
    repository = service(DispatchRepository)
    await repository.announce(await service(TaskChanges).now())
    taken = await repository.take()
    assert taken is not None
    lease = taken[0]
    assert taken[1]["generation"] == 1
    await repository.announce(await service(TaskChanges).now())
    assert not await repository.stop(lease, 1)
    assert await repository.stop(lease, 2)


async def test_a_lost_history_is_told(ada: Account, here: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    await add_hook(ada, here)
    await ada.make_task("Before")
    await here.events(1)
    (stored,) = await deliveries({})
    lost = f"82{1_000_000_000:08X}{stored['event'][10:]}"  # no oplog goes back to 2001
    old = {"place": lost, "holder": ObjectId(), "leased_until": utc_now()}
    await collection(ServiceStateDocument).update_one({"_id": "webhooks"}, {"$set": old})
    await ada.make_task("Lost")
    service(DispatchJob).wake()
    await here.until(lambda: any(each.json["type"] == "webhook.gap" for each in here.taken))
    gap = next(each for each in here.taken if each.json["type"] == "webhook.gap")
    assert "/tasks/changes" in gap.data["message"]
    assert service(PositionCodec).read(gap.data["id"], ObjectId(ada.id)).time
    await ada.make_task("After")
    await here.until(lambda: any(each.data.get("task", {}).get("title") == "After" for each in here.taken))
    assert "can no longer be read" in caplog.text


async def test_place_in_another_database_is_a_gap(ada: Account, here: Receiver) -> None:
    """As after a restore: a new MongoDB takes a time before its first change for one at which it begins."""
    await add_hook(ada, here)
    await ada.make_task("Before")
    await here.events(1)
    began = await state()
    assert began is not None
    foreign = f"{began['place'].partition('@')[0]}@{'0' * 32}"
    restored = {"place": foreign, "holder": ObjectId(), "leased_until": utc_now()}
    await collection(ServiceStateDocument).update_one({"_id": "webhooks"}, {"$set": restored})
    await ada.make_task("Restored")
    service(DispatchJob).wake()
    await here.until(lambda: any(each.json["type"] == "webhook.gap" for each in here.taken))
    await ada.make_task("After")
    await here.until(lambda: here.taken[-1].data.get("task", {}).get("title") == "After")
    assert [each.json["type"] for each in here.taken] == ["task.created", "webhook.gap", "task.created"]
