"""What a request does and its answer are stored together, so a kill leaves both or neither."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from bson import ObjectId
from pymongo.errors import AutoReconnect

from taskapi.tasks.services.batch import BatchService
from taskapi.tasks.services.tasks import TaskService
from taskapi.web.idempotency import middleware, repository, service
from taskapi.web.idempotency.repository import IdempotencyRepository
from taskapi.web.idempotency.service import IdempotencyService
from tests.client import Account, is_problem, stored_task
from tests.web.idempotency.records import KEYED, change_record, tasks, the_record

pytestmark = pytest.mark.real
REPLAY = "idempotent-replay"
PATH = "/tasks/bulk?atomic=true"
HEADERS = ("content-type", "content-length")


def update(task: Any, **more: Any) -> dict[str, Any]:
    return {"op": "update", "id": task["id"], "changes": {"title": "From the bulk"}, **more}


async def send_and_lose_answer(account: Account, monkeypatch: pytest.MonkeyPatch, path: str, **options: Any) -> None:
    """Sends the request to a process that is killed when the route has answered."""
    capture = middleware._capture

    async def die(*request: Any) -> Any:
        await capture(*request)
        raise AutoReconnect("killed")

    with monkeypatch.context() as patch:
        patch.setattr(middleware, "_capture", die)
        is_problem(await account.post(path, **options), 503, "database_unavailable")


async def test_repeat_gets_the_answer_that_was_lost(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    task, gone = await ada.make_task(), await ada.make_task()
    create = {"op": "create", "task": {"title": "Once"}}
    body = {"operations": [update(task, version=1), create, {"op": "delete", "id": gone["id"], "version": 1}]}
    await send_and_lose_answer(ada, monkeypatch, PATH, json=body, headers=KEYED)
    again = await ada.post(PATH, json=body, headers=KEYED)
    assert (again.status_code, again.headers[REPLAY]) == (200, "true")
    assert [(each["status"], each["version"]) for each in again.json()] == [(200, 2), (201, 1), (204, None)]
    assert [each["id"] for each in again.json()] == [task["id"], str((await the_record())["seed"]), gone["id"]]
    assert ((await stored_task(task["id"]))["version"], await tasks()) == (2, 3)


async def test_repeat_leaves_later_edits_alone(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    task = await ada.make_task()
    body = {"operations": [update(task)]}
    await send_and_lose_answer(ada, monkeypatch, PATH, json=body, headers=KEYED)
    assert (await ada.patch(f"/tasks/{task['id']}", json={"title": "A later edit"})).status_code == 200
    again = await ada.post(PATH, json=body, headers=KEYED)
    assert (again.status_code, again.json()[0]["version"]) == (200, 2)
    stored = await stored_task(task["id"])
    assert (stored["title"], stored["version"]) == ("A later edit", 3)


async def test_repeated_revert_gets_its_own_version(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    task = await ada.make_task(priority=1)
    path, headers = f"/tasks/{task['id']}", {**KEYED, "If-Match": '"2"'}
    assert (await ada.patch(path, json={"priority": 5})).status_code == 200
    await send_and_lose_answer(ada, monkeypatch, f"{path}/revert", json={"version": 1}, headers=headers)
    assert (await ada.patch(path, json={"priority": 4})).status_code == 200
    again = await ada.post(f"{path}/revert", json={"version": 1}, headers=headers)
    assert (again.status_code, again.headers["etag"], again.headers[REPLAY]) == (200, '"3"', "true")
    assert (again.json()["priority"], (await stored_task(task["id"]))["priority"]) == (1, 4)


async def test_item_removed_meanwhile_is_not_added_again(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"/tasks/{(await ada.make_task())['id']}/checklist"
    await send_and_lose_answer(ada, monkeypatch, path, json={"text": "Milk"}, headers=KEYED)
    (item,) = (await ada.get(path)).json()
    assert (await ada.delete(f"{path}/{item['id']}")).status_code == 200
    again = await ada.post(path, json={"text": "Milk"}, headers=KEYED)
    assert (again.status_code, again.json()["checklist"], again.headers[REPLAY]) == (201, [item], "true")
    assert again.headers["location"] == f"{path}/{item['id']}"
    assert (await ada.get(path)).json() == []


async def test_restored_task_may_change_before_the_repeat(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"/tasks/{(await ada.make_task())['id']}"
    assert (await ada.delete(path)).status_code == 204
    await send_and_lose_answer(ada, monkeypatch, f"{path}/restore", headers=KEYED)
    assert (await ada.patch(path, json={"priority": 5})).status_code == 200
    again = await ada.post(f"{path}/restore", headers=KEYED)
    assert (again.status_code, again.json()["version"], again.headers[REPLAY]) == (200, 3, "true")


async def test_recorded_answer_is_the_one_sent(ada: Account) -> None:
    task = await ada.make_task()
    first, again = [await ada.post(PATH, json={"operations": [update(task)]}, headers=KEYED) for _ in range(2)]
    assert (first.status_code, again.content, again.headers[REPLAY]) == (200, first.content, "true")
    assert [again.headers[name] for name in HEADERS] == [first.headers[name] for name in HEADERS]
    record = await the_record()
    assert (record["status"], record["body"], record["holder"]) == (200, first.content, None)
    assert {name for name, _ in record["headers"]} == set(HEADERS)


async def test_a_refused_bulk_keeps_its_refusal(ada: Account) -> None:
    task = await ada.make_task()
    body = {"operations": [update(task), update(task, version=9)]}
    first, again = [await ada.post(PATH, json=body, headers=KEYED) for _ in range(2)]
    is_problem(first, 409, "bulk_refused")
    assert (again.content, again.headers[REPLAY]) == (first.content, "true")
    assert (await stored_task(task["id"]))["version"] == 1


async def test_no_replay_before_a_majority_holds_it(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"operations": [update(await ada.make_task())]}
    first = await ada.post(PATH, json=body, headers=KEYED)
    with monkeypatch.context() as patch:  # the one member of this set is its majority, so an empty collection stands for it
        patch.setattr(repository, "acknowledged", lambda records: records.database["held_by_a_majority"])
        is_problem(await ada.post(PATH, json=body, headers=KEYED), 409, "idempotency_in_flight")
    assert (await ada.post(PATH, json=body, headers=KEYED)).content == first.content


async def test_run_that_lost_its_key_changes_nothing(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    task, read_all = await ada.make_task(), BatchService.read_all

    async def lose_key(*given: Any) -> Any:
        await change_record(holder=ObjectId())
        return await read_all(*given)

    monkeypatch.setattr(BatchService, "read_all", lose_key)
    is_problem(await ada.post(PATH, json={"operations": [update(task)]}, headers=KEYED), 409, "idempotency_in_flight")
    assert (await stored_task(task["id"]))["version"] == 1


async def test_no_renewal_waits_for_the_transaction(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    task, paused, turns, renewed_in = await ada.make_task(), asyncio.Event(), asyncio.Semaphore(0), list[str]()
    place, read_all, run, renew = "", BatchService.read_all, TaskService.update, IdempotencyRepository.renew

    async def pause(_: float) -> None:
        paused.set()
        await turns.acquire()

    async def let_renew(at: str) -> None:
        nonlocal place
        place = at
        await paused.wait()
        paused.clear()
        turns.release()
        await paused.wait()

    async def before(*given: Any) -> Any:
        await let_renew("before")
        return await read_all(*given)

    async def within(*given: Any) -> Any:
        await let_renew("within")
        return await run(*given)

    async def note(*given: Any) -> Any:
        renewed_in.append(place)
        return await renew(*given)

    monkeypatch.setattr(service, "asyncio", SimpleNamespace(create_task=asyncio.create_task, sleep=pause))
    monkeypatch.setattr(BatchService, "read_all", before)
    monkeypatch.setattr(TaskService, "update", within)
    monkeypatch.setattr(IdempotencyRepository, "renew", note)
    answer = await ada.post(PATH, json={"operations": [update(task)] * 2}, headers=KEYED)
    assert (answer.status_code, renewed_in) == (200, ["before"])
    assert (await stored_task(task["id"]))["version"] == 3


async def test_thirty_items_at_once_take_few_transactions(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    path, runs, extend = f"/tasks/{(await ada.make_task())['id']}/checklist", 0, IdempotencyService.extend

    async def count(*given: Any) -> None:
        nonlocal runs
        runs += 1
        await extend(*given)

    monkeypatch.setattr(IdempotencyService, "extend", count)
    texts = [f"Item {number}" for number in range(30)]
    sending = (ada.post(path, json={"text": text}, headers={"Idempotency-Key": text.replace(" ", "-")}) for text in texts)
    answers = await asyncio.gather(*sending)
    assert {answer.status_code for answer in answers} == {201}
    assert sorted(item["text"] for item in (await ada.get(path)).json()) == sorted(texts)
    assert runs < 350  # 450 to 500 without pauses
