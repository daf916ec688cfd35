"""A damaged task can be changed, which repairs the fields that are set, or at least deleted; no other task fails."""

import json

import pytest
from bson import ObjectId
from fastapi import FastAPI

from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, is_problem, wrong_fields
from tests.damage import BSON, schema
from tests.stored import collection
from tests.tasks.spoiled import FIELDS, GOOD, HISTORY, OTHERS, SOME, all_pages, in_bulk, sound_task, spoil, strict

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("moderate", "made_anew")]


async def test_change_mends_what_it_sets_despite_other_damage(ada: Account, app: FastAPI) -> None:
    """But for a list of times, beside which MongoDB's index takes no list of tags."""
    kept = await spoil(ada, [*FIELDS, *HISTORY, *OTHERS])
    is_task = schema(app, "TaskRead")
    for start in range(0, len(kept), 1000):
        some = kept[start : start + 1000]
        results = await in_bulk(ada, [{"op": "update", "id": str(each["_id"]), "changes": GOOD} for each in some])
        for each, result in zip(some, results, strict=True):
            if isinstance(each.get("created_at"), list):
                assert (result["status"], result["error"]["error"]) == (409, "damaged_task"), each["note"]
                continue
            assert result["status"] == 200, (each["note"], result)
            assert result["version"] >= 2 or isinstance(each["version"], int), each["note"]
    for line in (await ada.get("/tasks/export")).text.splitlines():
        is_task.validate(strict(line))
    stored = {each["_id"]: each async for each in collection(TaskDocument).find({"title": "Mended"})}
    assert len(stored) > 1000
    for each in stored.values():
        assert isinstance(each["version"], int), each["note"]
        assert each["history"][-1]["version"] == each["version"], each["note"]
        assert (each["progress"], each["completed"], each["status"]) == (0.0, True, "done"), each["note"]
        assert "before" not in each
        assert [item["text"] for item in each["checklist"]] == ["mended"]


async def test_deleting_always_works_and_so_does_restoring(ada: Account, app: FastAPI) -> None:
    kept = await spoil(ada, ["version", "owner.username", "tags", "created_at", "history", "before", "trash"])
    for start in range(0, len(kept), 1000):
        some = kept[start : start + 1000]
        results = await in_bulk(ada, [{"op": "delete", "id": str(each["_id"])} for each in some])
        assert [(each["note"], it) for each, it in zip(some, results, strict=True) if it["status"] != 204] == []
    is_trashed = schema(app, "TrashedTask")
    trashed: list[BSON] = []
    for offset in range(0, len(kept), 100):
        answer = await ada.get(f"/trash?limit=100&offset={offset}")
        assert answer.status_code == 200, answer.text
        trashed += strict(answer.text)
    assert {each["id"] for each in trashed} == {str(each["_id"]) for each in kept}
    for task in trashed:
        is_trashed.validate(task)
    for each in kept[::10]:
        restored = await ada.post(f"/tasks/{each['_id']}/restore")
        assert restored.status_code == 200, (each["note"], restored.text)
        assert (await ada.post(f"/tasks/{each['_id']}/restore")).status_code in (200, 404)
    for each in kept[1::10]:
        assert (await ada.delete(f"/trash/{each['_id']}")).status_code == 204


async def test_every_way_to_change_one_answers_clearly(ada: Account) -> None:
    kept = await spoil(ada, ["version", "history", "checklist", "metadata"], SOME)
    for each in kept:
        path = f"/tasks/{each['_id']}"
        version = (await ada.get(path)).headers["etag"]
        item = (
            str(each["checklist"][0].get("id"))
            if isinstance(each.get("checklist"), list) and each["checklist"] and isinstance(each["checklist"][0], dict)
            else "x"
        )
        answers = [
            await ada.patch(path, json={"priority": 3}, headers={"If-Match": version}),
            await ada.patch(path, json={"priority": 4}, headers={"If-Match": version}),
            await ada.put(path, json={"metadata": {"b": 2}}),
            await ada.patch(
                path,
                json=[{"op": "add", "path": "/tags/-", "value": "z"}],
                headers={"Content-Type": "application/json-patch+json"},
            ),
            await ada.post(f"{path}/checklist", json={"text": "more"}),
            await ada.patch(f"{path}/checklist/{item}", json={"done": True, "before": None}),
            await ada.delete(f"{path}/checklist/{item}"),
            await ada.post(f"{path}/revert", json={"version": 1}),
        ]
        codes = [answer.status_code for answer in answers]
        assert codes[:3] == [200, 412, 200], (each["note"], [answer.text for answer in answers[:3]])
        assert set(codes[3:]) <= {200, 201, 404, 409, 410, 422}, (each["note"], codes)
        assert (await ada.delete(path, headers={"If-Match": (await ada.get(path)).headers["etag"]})).status_code == 204


async def test_one_change_of_all_that_a_filter_finds(ada: Account) -> None:
    kept = await spoil(
        ada, ["version", "history", "checklist", "status", "metadata", "before", "trash"], [*SOME, "odd keys", "deep"]
    )
    total = len(kept) + 3
    for expect in ("", f"&expect={total}"):
        changed = await ada.patch(f"/tasks?where={{}}{expect}", json={"status": "done", "checklist": None})
        assert changed.status_code == 200, changed.text
        assert changed.json() == {"matched": total, "changed": total}
    merged = await ada.patch("/tasks?where={}", json={"metadata": {"b": 1}})
    assert list(wrong_fields(merged)) == ["metadata"]  # two hold more than metadata may
    assert (await ada.patch("/tasks?where={}", json={"metadata": None})).status_code == 200
    assert (await ada.patch("/tasks?where={}", json={"metadata": {"b": 1}})).json()["changed"] == total
    deleted = await ada.delete(f"/tasks?where={{}}&expect={total}")
    assert deleted.json() == {"matched": total, "changed": total}
    assert (await ada.get("/trash?limit=1")).headers["x-total-count"] == str(total)


async def test_an_import_meets_damaged_tasks_by_their_keys(ada: Account) -> None:
    kept = await spoil(ada, [*FIELDS, *HISTORY, *OTHERS], SOME)
    keyed = [each for each in kept if isinstance(each.get("key"), str) and not isinstance(each.get("created_at"), list)]
    keyed += [each for each in kept if each["note"] == "key: mixed list"]
    for dry_run in ("true", "false"):
        lines = [{"key": each["key"] if isinstance(each["key"], str) else "a", **GOOD} for each in keyed]
        body = "\n".join(json.dumps(line) for line in lines).encode()
        headers = {"Content-Type": "application/jsonl"}
        report = await ada.post(f"/tasks/import?dry_run={dry_run}", content=body, headers=headers)
        assert report.status_code == 200, report.text
        assert (report.json()["updated"], report.json()["failed"]) == (len(lines), 0), report.text
    again = await ada.post("/tasks/import", content=body, headers=headers)
    assert again.json()["unchanged"] == len(lines), again.text


async def test_an_import_by_id_meets_odd_keys(ada: Account) -> None:
    kept = await spoil(ada, ["key"])
    body = "\n".join(json.dumps({"id": str(each["_id"]), **GOOD}) for each in kept).encode()
    for query in ("match=id&dry_run=true", "match=id"):
        report = await ada.post(f"/tasks/import?{query}", content=body, headers={"Content-Type": "application/jsonl"})
        assert report.status_code == 200, report.text
        assert (report.json()["updated"], report.json()["failed"]) == (len(kept), 0), report.text


async def test_all_or_none_goes_on_beside_damaged_tasks(ada: Account) -> None:
    kept = await spoil(ada, ["version", "history"], SOME)
    operations = [{"op": "update", "id": str(each["_id"]), "changes": {"priority": 5}} for each in kept]
    assert {each["status"] for each in await in_bulk(ada, operations, "true")} == {200}


async def test_invalid_id_is_shown_and_deletable_by_filter(ada: Account) -> None:
    sound = await sound_task(ada)
    odd = ["an id", 5, {"a": 1}, 2.5, b"x" * 12]
    await collection(TaskDocument).insert_many([{**sound, "_id": each, "key": f"k{n}"} for n, each in enumerate(odd)])
    listed = [task["id"] for task in (await ada.get("/tasks")).json()]
    assert len({*listed}) == len(odd)
    assert all(map(ObjectId.is_valid, listed))
    assert sorted(listed) == sorted([task["id"] for task in await all_pages(ada, "fields=id", 2)])
    is_problem(await ada.get(f"/tasks/{listed[0]}"), 404, "not_found")
    assert (await ada.delete("/tasks?where={}")).json() == {"matched": 5, "changed": 5}


@pytest.mark.parametrize("version", [-3, 0, 2**31, 2**62, 2**63 - 2], ids=str)
async def test_the_tag_of_any_stored_version_is_understood(ada: Account, version: int) -> None:
    task = await ada.make_task()
    await collection(TaskDocument).update_one({"_id": ObjectId(task["id"])}, {"$set": {"version": version}})
    path = f"/tasks/{task['id']}"
    tag = (await ada.get(path)).headers["etag"]
    changed = await ada.patch(path, json={"priority": 4}, headers={"If-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] == f'"{version + 1}"'
    assert (await ada.patch(path, json={"priority": 5}, headers={"If-Match": tag})).status_code == 412


@pytest.mark.parametrize("name", ["_id", "owner_id", "state", "owner", "version"])
async def test_history_never_replaces_id_owner_or_version(ada: Account, name: str) -> None:
    task = await ada.make_task()
    await ada.patch(f"/tasks/{task['id']}", json={"priority": 4})
    others: BSON = {
        "_id": ObjectId(),
        "owner_id": ObjectId(),
        "state": "trash",
        "owner": {"id": ObjectId(), "username": "somebody"},
        "version": 9,
    }
    change = {"$set": {f"history.1.before.{name}": others[name]}}
    await collection(TaskDocument).update_one({"_id": ObjectId(task["id"])}, change)
    is_problem(await ada.get(f"/tasks/{task['id']}?version=1"), 410, "version_not_kept")
    assert (await ada.get(f"/tasks/{task['id']}/history")).json() == []
