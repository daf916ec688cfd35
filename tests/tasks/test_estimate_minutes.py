"""The estimate of a task, in minutes."""

import pytest
from bson import ObjectId

from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, wrong_fields
from tests.stored import collection

pytestmark = pytest.mark.real


@pytest.mark.parametrize("value", [-1, 100_001, 1.5, "60", True])
async def test_it_is_an_integer_within_limits(ada: Account, value: object) -> None:
    assert set(wrong_fields(await ada.post("/tasks", json={"title": "task", "estimate_minutes": value}))) == {"estimate_minutes"}


async def test_it_is_written_recorded_and_taken_back(ada: Account) -> None:
    task = await ada.make_task("Old")
    path = f"/tasks/{task['id']}"
    await collection(TaskDocument).update_one({"_id": ObjectId(task["id"])}, {"$unset": {"estimate_minutes": ""}})
    assert (await ada.get(f"{path}?fields=estimate_minutes")).json() == {"estimate_minutes": None}
    for value in (0, 100_000, None, 60):
        assert (await ada.patch(path, json={"estimate_minutes": value})).json()["estimate_minutes"] == value
    oldest = (await ada.get(f"{path}/history")).json()[-2]
    assert oldest["changes"] == {"estimate_minutes": {"before": None, "after": 0}}
    assert (await ada.post(f"{path}/revert", json={"version": 1})).json()["estimate_minutes"] is None


async def test_lists_are_filtered_and_sorted_by_it(ada: Account) -> None:
    for title, minutes in (("None", None), ("Nine", 9), ("Hundred", 100)):
        await ada.make_task(title, estimate_minutes=minutes)

    async def titles(query: str) -> list[str]:
        return [task["title"] for task in (await ada.get(f"/tasks?{query}")).json()]

    assert await titles("sort=estimate_minutes") == ["None", "Nine", "Hundred"]
    assert await titles("sort=-estimate_minutes") == ["Hundred", "Nine", "None"]
    assert await titles("estimate_max=9") == ["Nine"]
    assert await titles("estimate_min=10") == ["Hundred"]
    assert await titles('where={"estimate_minutes":null}') == ["None"]
    first = await ada.get("/tasks?sort=estimate_minutes&limit=1")
    assert await titles(f"sort=estimate_minutes&cursor={first.headers['X-Next-Cursor']}") == ["Nine", "Hundred"]


@pytest.mark.parametrize(("kind", "path"), [("text/csv", "/tasks/export?format=csv"), ("application/x-ndjson", "/tasks/export")])
async def test_it_is_exported_and_imported(ada: Account, bob: Account, kind: str, path: str) -> None:
    await ada.make_task("Known", estimate_minutes=90)
    await ada.make_task("Unknown")
    await bob.post("/tasks/import", content=(await ada.get(path)).content, headers={"Content-Type": kind})
    found = {task["title"]: task["estimate_minutes"] for task in (await bob.get("/tasks")).json()}
    assert found == {"Known": 90, "Unknown": None}
