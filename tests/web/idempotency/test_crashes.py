"""A process killed between a write and the record of its answer: the repeat finds what was written."""

import pytest

from tests.client import Account, is_problem, stored_task
from tests.web.idempotency.records import KEYED, forget_answer, tasks

BODY = {"title": "Once", "completed": True, "checklist": [{"text": "a"}, {"text": "b", "done": True}]}
REPLAY = "idempotent-replay"


async def test_changed_task_is_replayed_as_it_was_created(ada: Account) -> None:
    first = await ada.post("/tasks", json=BODY, headers=KEYED)
    await forget_answer()
    change = {"title": "Changed", "completed": False, "checklist": []}
    assert (await ada.patch(f"/tasks/{first.json()['id']}", json=change)).status_code == 200
    again = await ada.post("/tasks", json=BODY, headers=KEYED)
    assert (again.status_code, again.json()) == (201, first.json())
    assert (again.headers["location"], again.headers["etag"]) == (first.headers["location"], first.headers["etag"])
    assert REPLAY not in again.headers
    assert await tasks() == 1
    assert (await stored_task(first.json()["id"]))["title"] == "Changed"
    assert (await ada.post("/tasks", json=BODY, headers=KEYED)).headers[REPLAY] == "true"


async def test_task_deleted_meanwhile_stays_in_the_trash(ada: Account) -> None:
    first = await ada.post("/tasks", json=BODY, headers=KEYED)
    await forget_answer()
    assert (await ada.delete(f"/tasks/{first.json()['id']}")).status_code == 204
    again = await ada.post("/tasks", json=BODY, headers=KEYED)
    assert (again.status_code, again.json()) == (201, first.json())
    assert await tasks() == 1
    is_problem(await ada.get(f"/tasks/{first.json()['id']}"), 404, "not_found")


@pytest.mark.real  # mongomock cannot compute progress
@pytest.mark.parametrize("tagged", [False, True], ids=["any version", "If-Match"])
async def test_a_checklist_item_is_added_once(ada: Account, tagged: bool) -> None:
    task = await ada.make_task()
    path = f"/tasks/{task['id']}/checklist"
    headers = {**KEYED, **({"If-Match": '"1"'} if tagged else {})}
    first = await ada.post(path, json={"text": "Milk"}, headers=headers)
    assert first.status_code == 201
    await forget_answer()
    again = await ada.post(path, json={"text": "Milk"}, headers=headers)
    assert (again.status_code, again.json()) == (201, first.json())
    assert (again.headers["location"], REPLAY in again.headers) == (first.headers["location"], False)
    stored = await stored_task(task["id"])
    assert ([item["text"] for item in stored["checklist"]], stored["version"]) == (["Milk"], 2)
    assert (await ada.post(path, json={"text": "Milk"}, headers=headers)).headers[REPLAY] == "true"


async def test_a_full_checklist_stays_full(ada: Account) -> None:
    task = await ada.make_task(checklist=[{"text": "x"}] * 100)
    path = f"/tasks/{task['id']}/checklist"
    first = await ada.post(path, json={"text": "Milk"}, headers=KEYED)
    assert first.is_client_error
    again = await ada.post(path, json={"text": "Milk"}, headers=KEYED)
    assert (again.content, again.headers[REPLAY]) == (first.content, "true")


async def test_a_restored_task_is_restored_once(ada: Account) -> None:
    task = await ada.make_task()
    assert (await ada.delete(f"/tasks/{task['id']}")).status_code == 204
    first, again = [await ada.post(f"/tasks/{task['id']}/restore", headers=KEYED) for _ in range(2)]
    assert (first.status_code, again.json(), again.headers[REPLAY]) == (200, first.json(), "true")
