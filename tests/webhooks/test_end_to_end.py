"""Events of tasks reach a real receiver, signed."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.client import Account
from tests.webhooks.receiver import Receiver, receiver

pytestmark = pytest.mark.real


@pytest.fixture
async def here() -> AsyncIterator[Receiver]:
    async with receiver() as found:
        yield found


async def add_hook(account: Account, here: Receiver, **fields: Any) -> dict[str, Any]:
    made = await account.post("/webhooks", json={"url": here.url, **fields})
    assert made.status_code == 201, made.text
    return dict(made.json())


async def test_every_change_arrives_in_order(ada: Account, here: Receiver) -> None:
    await add_hook(ada, here)
    task = await ada.make_task("Call back")
    await ada.patch(f"/tasks/{task['id']}", json={"status": "done"})
    await ada.delete(f"/tasks/{task['id']}")
    await ada.post(f"/tasks/{task['id']}/restore")
    await ada.delete(f"/tasks/{task['id']}")
    await ada.delete(f"/trash/{task['id']}")
    events = await here.events(6)
    assert [event["type"] for event in events] == [
        "task.created",
        "task.updated",
        "task.deleted",
        "task.restored",
        "task.deleted",
        "task.purged",
    ]
    assert [event["version"] for event in events] == [1, 2, 3, 4, 5, 6]
    assert {event["task_id"] for event in events} == {task["id"]}
    assert len({each.headers["webhook-id"] for each in here.taken}) == 6
