"""What a script has damaged keeps nobody else from their events."""

from typing import Any

import pytest
from bson import Int64, ObjectId

from taskapi.db.service_state import ServiceStateDocument
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, is_problem
from tests.events.test_feed_damaged import DAMAGE as DAMAGED_TASKS
from tests.stored import collection
from tests.webhooks.hooks import add_hook, change_hook, stored_hook
from tests.webhooks.receiver import Receiver, receiver

pytestmark = pytest.mark.real

DAMAGE: list[dict[str, Any]] = [
    {"events": None},
    {"where": "{"},
    {"where": 5},
    {"where": '{"no_such_field": 1}'},
    {"begins_after": "soon"},
    {"user": [ObjectId()]},
    {"url": 5},
    {"url": "http://[::1"},
    {"enabled": "yes"},
    {"failing_since": 5},
    {"secret": "text"},
    {"previous_secret_until": "soon"},
]


@pytest.mark.parametrize("values", DAMAGE, ids=", ".join)
async def test_others_get_their_events(ada: Account, bob: Account, here: Receiver, values: dict[str, Any]) -> None:
    async with receiver() as other:
        spoiled = await add_hook(ada, other)
        await change_hook(spoiled, **values)
        await add_hook(bob, here)
        await ada.make_task("Ada's own")
        await bob.make_task("Bob's own")
        await here.events(1)
        await ada.make_task("Ada's second")
        await bob.make_task("Bob's second")
        assert [event["task"]["title"] for event in await here.events(2)] == ["Bob's own", "Bob's second"]
    for path in ("/webhooks", f"/webhooks/{spoiled['id']}", f"/webhooks/{spoiled['id']}/deliveries"):
        assert (await ada.get(path)).status_code in (200, 404)
    assert (await stored_hook(spoiled))["_id"]


@pytest.mark.usefixtures("made_anew")
async def test_a_webhook_that_cannot_be_changed(ada: Account, here: Receiver) -> None:
    hook = await add_hook(ada, here)
    await change_hook(hook, version=Int64(2**63 - 1))
    answer = await ada.patch(f"/webhooks/{hook['id']}", json={"description": "other"})
    is_problem(answer, 409, "damaged_document")
    assert "task" not in answer.json()["detail"]
    assert (await stored_hook(hook))["description"] == ""


@pytest.mark.parametrize("version", ["text", None, 1.5], ids=str)
async def test_version_that_is_no_integer(ada: Account, here: Receiver, version: Any) -> None:
    hook = await add_hook(ada, here)
    path = f"/webhooks/{hook['id']}"
    await change_hook(hook, version=version)
    shown = await ada.get(path)
    assert shown.headers["etag"] == '"1"'
    is_problem(await ada.patch(path, json={"description": "other"}, headers={"If-Match": '"2"'}), 412, "webhook_changed")
    answer = await ada.patch(path, json={"description": "other"}, headers={"If-Match": '"1"'})
    assert (answer.status_code, answer.json()["version"]) == (200, 2)
    assert (await stored_hook(hook))["version"] == 2


@pytest.mark.parametrize("generation", [Int64(2**63 - 1), "text", None], ids=str)
async def test_generation_that_cannot_be_counted(ada: Account, here: Receiver, generation: Any) -> None:
    await add_hook(ada, here)
    await collection(ServiceStateDocument).update_one({"_id": "webhooks"}, {"$set": {"generation": generation}})
    await ada.make_task("First")
    await here.events(1)
    async with receiver() as other:
        await add_hook(ada, other)
        await ada.make_task("Second")
        assert [event["task"]["title"] for event in await other.events(1)] == ["Second"]
    stored = await collection(ServiceStateDocument).find_one({"_id": "webhooks"})
    assert stored is not None
    assert 0 < stored["generation"] < 2**63 - 1


@pytest.mark.usefixtures("unvalidated")
async def test_task_of_a_list_of_owners(ada: Account, here: Receiver) -> None:
    await add_hook(ada, here)
    task = await ada.make_task("Damaged")
    await here.events(1)
    damage = {"tags": "none", "links": 5, "checklist": 5, "title": "Whose?", "owner_id": [ObjectId(ada.id)]}
    await collection(TaskDocument).update_one({"_id": ObjectId(task["id"])}, {"$set": damage})
    await ada.make_task("Sound")
    assert [event["task"]["title"] for event in await here.events(2)] == ["Damaged", "Sound"]


@pytest.mark.usefixtures("unvalidated", "made_anew")
@pytest.mark.parametrize("name", DAMAGED_TASKS)
async def test_damaged_task(ada: Account, bob: Account, here: Receiver, name: str) -> None:
    async with receiver() as other:
        await add_hook(ada, other)
        await add_hook(ada, other, where={"tags": "work"})
        await add_hook(bob, here)
        task = await ada.make_task("Damaged")
        await collection(TaskDocument).update_one({"_id": ObjectId(task["id"])}, {"$set": DAMAGED_TASKS[name]})
        await bob.make_task("Sound")
        assert [event["task"]["title"] for event in await here.events(1)] == ["Sound"]
        last = await ada.make_task("Last", tags=["work"])
        await other.until(lambda: sum(each.data["task_id"] == last["id"] for each in other.taken) == 2)
