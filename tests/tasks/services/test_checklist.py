"""The checklist of a task: each change is one array operation, so no concurrent tick is lost."""

import asyncio
from typing import Any

import pytest

from tests.client import Account, is_problem, stored_task, wrong_fields
from tests.tasks.services.restoring import restore_before_the_look

UNKNOWN = "65f1a2b3c4d5e6f708192a3b"


async def with_items(account: Account, *texts: str) -> tuple[str, list[str]]:
    """The address of a task's checklist, and the ids of its items."""
    task = await account.make_task(checklist=[{"text": text} for text in texts])
    return f"/tasks/{task['id']}/checklist", [item["id"] for item in task["checklist"]]


def texts(task: dict[str, Any]) -> list[str]:
    return [item["text"] for item in task["checklist"]]


@pytest.mark.real
async def test_items_are_added_edited_ticked_moved_and_removed(ada: Account) -> None:
    path, (one, two) = await with_items(ada, "one", "two")
    added = await ada.post(path, json={"text": "  three  "})
    assert (added.status_code, added.headers["etag"], texts(added.json())) == (201, '"2"', ["one", "two", "three"])
    three = added.json()["checklist"][2]["id"]
    assert added.headers["location"] == f"{path}/{three}"
    first = await ada.post(path, json={"text": "zero", "done": True, "before": one})
    assert (texts(first.json()), first.json()["progress"]) == (["zero", "one", "two", "three"], 0.25)

    ticked = (await ada.patch(f"{path}/{two}", json={"done": True, "text": "two!"})).json()
    assert (texts(ticked), ticked["progress"], ticked["version"]) == (["zero", "one", "two!", "three"], 0.5, 4)
    moved = (await ada.patch(f"{path}/{three}", json={"before": one})).json()
    assert texts(moved) == ["zero", "three", "one", "two!"]
    assert texts((await ada.patch(f"{path}/{three}", json={"before": three})).json()) == ["zero", "three", "one", "two!"]
    last = (await ada.patch(f"{path}/{three}", json={"before": None})).json()
    assert texts(last) == ["zero", "one", "two!", "three"]
    removed = await ada.delete(f"{path}/{two}")
    assert (removed.status_code, texts(removed.json())) == (200, ["zero", "one", "three"])

    listed = (await ada.get(path)).json()
    assert listed == removed.json()["checklist"]
    kept = await stored_task(removed.json()["id"])
    assert [(str(item["id"]), item["text"], item["done"]) for item in kept["checklist"]] == [
        (item["id"], item["text"], item["done"]) for item in listed
    ]
    assert kept["progress"] == pytest.approx(1 / 3)


async def test_a_checklist_can_be_sent_whole(ada: Account) -> None:
    _, (one, two) = await with_items(ada, "one", "two")
    task = (await ada.get("/tasks")).json()[0]
    sent = [{"id": two, "text": "two", "done": True}, {"text": "new"}, {"id": one.upper(), "text": "one"}]
    after = (await ada.patch(f"/tasks/{task['id']}", json={"checklist": sent})).json()
    assert [item["id"] for item in after["checklist"]][::2] == [two, one]
    assert after["progress"] == pytest.approx(1 / 3)
    assert (await ada.patch(f"/tasks/{task['id']}", json={"checklist": None})).json()["checklist"] == []


async def test_progress_without_a_checklist_follows_the_status(ada: Account) -> None:
    task = await ada.make_task()
    assert task["progress"] == 0.0
    assert (await ada.patch(f"/tasks/{task['id']}", json={"completed": True})).json()["progress"] == 1.0
    assert (await ada.patch(f"/tasks/{task['id']}", json={"checklist": [{"text": "a"}]})).json()["progress"] == 0.0


@pytest.mark.real
async def test_ticks_at_the_same_time_all_win(ada: Account) -> None:
    path, ids = await with_items(ada, *(str(n) for n in range(20)))
    answers = await asyncio.gather(*(ada.patch(f"{path}/{item}", json={"done": True}) for item in ids))
    assert {answer.status_code for answer in answers} == {200}
    kept = await stored_task(answers[0].json()["id"])
    assert all(item["done"] for item in kept["checklist"])
    assert (kept["progress"], kept["version"]) == (1.0, 21)


@pytest.mark.real
async def test_concurrent_additions_stop_at_the_hundredth_item(ada: Account) -> None:
    path, _ = await with_items(ada, *(str(n) for n in range(95)))
    answers = await asyncio.gather(*(ada.post(path, json={"text": "one more"}) for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == [201] * 5 + [409] * 7
    full = next(answer for answer in answers if answer.status_code == 409)
    is_problem(full, 409, "too_many_items", "The checklist is full: it has 100 items.")
    assert len((await ada.get(path)).json()) == 100


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"text": "missing"}),
        ({"text": " "}, {"text": "string_too_short"}),
        ({"text": "x" * 201}, {"text": "string_too_long"}),
        ({"text": "a\x00b"}, {"text": "string_nul"}),
        ({"text": "a", "done": 1}, {"done": "bool_type"}),
        ({"text": "a", "before": "x"}, {"before": "string_pattern_mismatch"}),
        ({"text": "a", "before": UNKNOWN}, {"before": "unknown_item"}),
        ({"text": "a", "id": UNKNOWN}, {"id": "extra_forbidden"}),
    ],
)
async def test_items_that_are_not_valid(ada: Account, body: dict[str, Any], fields: dict[str, str]) -> None:
    path, ids = await with_items(ada, "one")
    assert wrong_fields(await ada.post(path, json=body)) == fields
    if "text" in body:
        assert wrong_fields(await ada.patch(f"{path}/{ids[0]}", json=body)) == fields
    assert len((await ada.get(path)).json()) == 1


@pytest.mark.parametrize(
    ("checklist", "field"),
    [
        ([{"text": "a"}] * 101, "checklist"),
        ([{"id": UNKNOWN, "text": "a"}, {"id": UNKNOWN.upper(), "text": "b"}], "checklist"),
        ([{"text": "a", "owner": 1}], "checklist.0.owner"),
        ("text", "checklist"),
        ([None], "checklist.0"),
    ],
)
async def test_whole_checklists_that_are_not_valid(ada: Account, checklist: Any, field: str) -> None:
    assert list(wrong_fields(await ada.post("/tasks", json={"title": "A task", "checklist": checklist}))) == [field]


async def test_missing_and_foreign_items_are_not_found(ada: Account, bob: Account) -> None:
    path, ids = await with_items(ada, "one")
    before = (await ada.get(path)).json()
    for account, target in (
        (bob, f"{path}/{ids[0]}"),
        (ada, f"{path}/{UNKNOWN}"),
        (ada, f"{path}/nonsense"),
        (ada, f"/tasks/{UNKNOWN}/checklist/{ids[0]}"),
    ):
        is_problem(await account.patch(target, json={"done": True}), 404, "not_found")
        is_problem(await account.delete(target), 404, "not_found")
    is_problem(await bob.get(path), 404, "not_found")
    is_problem(await bob.post(path, json={"text": "mine now"}), 404, "not_found")
    assert (await ada.get(path)).json() == before


async def test_a_change_of_nothing_writes_nothing(ada: Account) -> None:
    path, (item,) = await with_items(ada, "one")
    before = await stored_task(path.split("/")[2])
    answer = await ada.patch(f"{path}/{item}", json={})
    assert (answer.status_code, answer.headers["etag"]) == (200, f'"{before["version"]}"')
    is_problem(await ada.patch(f"{path}/{item}", json={}, headers={"If-Match": '"99"'}), 412, "precondition_failed")
    is_problem(await ada.patch(f"{path}/{UNKNOWN}", json={}), 404, "not_found")
    assert await stored_task(before["_id"]) == before


@pytest.mark.real
async def test_if_match_holds_for_items_too(ada: Account) -> None:
    path, ids = await with_items(ada, "one")
    stale = {"If-Match": '"7"'}
    for answer in (
        await ada.post(path, json={"text": "two"}, headers=stale),
        await ada.patch(f"{path}/{ids[0]}", json={"done": True}, headers=stale),
        await ada.delete(f"{path}/{ids[0]}", headers=stale),
    ):
        is_problem(answer, 412, "precondition_failed")
        assert answer.headers["etag"] == '"1"'
    assert (await ada.patch(f"{path}/{ids[0]}", json={"done": True}, headers={"If-Match": '"1"'})).status_code == 200


@pytest.mark.real
@pytest.mark.parametrize(("method", "status"), [("POST", 201), ("PATCH", 200), ("DELETE", 200)])
async def test_task_restored_before_the_look_is_changed(
    ada: Account, monkeypatch: pytest.MonkeyPatch, method: str, status: int
) -> None:
    """The write finds the task in the trash, but the look for the reason does not."""
    path, (one,) = await with_items(ada, "one")
    task_path = path.removesuffix("/checklist")
    await ada.delete(task_path)
    restore_before_the_look(ada, monkeypatch, task_path)
    target, body = (path, {"text": "two"}) if method == "POST" else (f"{path}/{one}", {"done": True})
    answer = await ada.call(method, target, **({} if method == "DELETE" else {"json": body}))
    assert answer.status_code == status, answer.text
    kept = [(item["text"], item["done"]) for item in (await stored_task(task_path.split("/")[2]))["checklist"]]
    assert kept == {"POST": [("one", False), ("two", False)], "PATCH": [("one", True)], "DELETE": []}[method]
