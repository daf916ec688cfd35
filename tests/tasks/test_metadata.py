"""Metadata: stored exactly as sent, within its limits."""

import json
from typing import Any

import pytest

from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, stored_task, wrong_fields
from tests.stored import collection


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"in": value}
    return value


KEPT = [
    "{}",
    '{"integers":[0,-1,2147483648,9223372036854775807,-9223372036854775808]}',
    '{"floats":[1.0,0.1,-0.0,1e+16,5e-324,1.7976931348623157e+308]}',
    '{"kinds":[true,false,null,"",[],{}]}',
    '{"a.b":1,"":2," ":3,"é🦊":4}',
    '{"z":1,"a":2,"10":3,"9":4}',
    '{"nul inside":"a\\u0000b","quote":"\\"","slash":"/"}',
    '{"_id":1,"owner":{"id":"me"}}',
    json.dumps(nested(6), separators=(",", ":")),
    json.dumps({f"key{n}": n for n in range(200)}, separators=(",", ":")),
    json.dumps({"text": "x" * (16 * 1024 - 11)}, separators=(",", ":")),
]


@pytest.mark.parametrize("text", KEPT, ids=lambda text: text[:40])
async def test_what_is_sent_comes_back(ada: Account, text: str) -> None:
    body = f'{{"title":"With metadata","metadata":{text}}}'
    made = await ada.post("/tasks", content=body.encode(), headers={"Content-Type": "application/json"})
    assert made.status_code == 201, made.text
    answer = await ada.get(made.headers["location"])
    sent = json.loads(text)
    assert json.dumps(answer.json()["metadata"]) == json.dumps(sent)  # the kinds and the order too
    assert answer.text.count("e+16") + answer.text.count("1e16") == text.count("1e+16")
    await ada.patch(made.headers["location"], json={"priority": 2})
    listed = (await ada.get("/tasks")).json()[0]["metadata"]
    assert json.dumps(listed) == json.dumps(sent)
    assert json.dumps((await stored_task(answer.json()["id"]))["metadata"]) == json.dumps(sent)


@pytest.mark.parametrize(
    ("metadata", "kind"),
    [
        ({"$set": 1}, "metadata_key"),
        ({"a": [{"b": {"$where": "1"}}]}, "metadata_key"),
        ({"a\x00b": 1}, "metadata_key"),
        ({"n": 2**63}, "metadata_integer"),
        ({"n": [-(2**63) - 1]}, "metadata_integer"),
        (nested(7), "metadata_depth"),
        ({"a": [[[[[[]]]]]]}, "metadata_depth"),
        ({f"key{n}": n for n in range(201)}, "metadata_keys"),
        ({"a": [{str(n): 0} for n in range(201)]}, "metadata_keys"),
        ({"text": "x" * (16 * 1024 - 10)}, "metadata_size"),
        ({"text": "é" * 8200}, "metadata_size"),
        ([], "dict_type"),
        ("text", "dict_type"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_is_beyond_the_limits_is_refused(ada: Account, metadata: Any, kind: str) -> None:
    assert wrong_fields(await ada.post("/tasks", json={"title": "Too much", "metadata": metadata})) == {"metadata": kind}
    task = await ada.make_task(metadata={"a": 1})
    assert wrong_fields(await ada.patch(f"/tasks/{task['id']}", json={"metadata": metadata})) == {"metadata": kind}
    assert (await stored_task(task["id"]))["metadata"] == {"a": 1}


@pytest.mark.parametrize("text", ['{"a":"\\ud800"}', '{"\\udfff":1}', '{"n":1e400}', '{"n":-1e999}'])
async def test_json_values_that_cannot_be_stored_are_refused(ada: Account, text: str) -> None:
    body = f'{{"title":"Odd","metadata":{text}}}'
    answer = await ada.post("/tasks", content=body.encode(), headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert await collection(TaskDocument).count_documents({}) == 0


async def test_merge_exceeding_the_limits_changes_nothing(ada: Account) -> None:
    task = await ada.make_task(metadata={f"a{n}": n for n in range(150)})
    found = wrong_fields(await ada.patch(f"/tasks/{task['id']}", json={"metadata": {f"b{n}": n for n in range(51)}}))
    assert found == {"metadata": "metadata_keys"}
    assert (await stored_task(task["id"]))["version"] == 1


async def test_null_empties_it(ada: Account) -> None:
    task = await ada.make_task(metadata={"a": 1})
    assert (await ada.patch(f"/tasks/{task['id']}", json={"metadata": None})).json()["metadata"] == {}


async def test_first_version_tasks_have_empty_metadata(ada: Account) -> None:
    task = await ada.make_task()
    lacking = dict.fromkeys(("checklist", "progress", "metadata", "history"), "")
    await collection(TaskDocument).update_one({}, {"$unset": lacking})
    path = f"/tasks/{task['id']}"
    assert (await ada.get(path)).json() == task
    assert (await ada.get("/tasks")).json() == [task]
    changed = await ada.patch(path, json={"metadata": {"a": 1}, "checklist": [{"text": "One", "done": True}]})
    assert (changed.json()["metadata"], changed.json()["progress"]) == ({"a": 1}, 1.0)
    assert (await ada.get(f"{path}?version=1")).json() == task
