"""``fields``: what is returned and read, with the same values as in the whole task."""

from typing import Any

import pytest
from pydantic import BaseModel

from taskapi.tasks.query.projection import Projection, TaskPart
from taskapi.tasks.schemas import TaskRead
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, is_problem, stored_task, wrong_fields
from tests.stored import collection

TASK: dict[str, Any] = {
    "title": "Write the report",
    "due_date": "2027-01-31",
    "tags": ["work"],
    "checklist": [{"text": "Figures", "done": True}, {"text": "Pages"}],
    "metadata": {
        "project": "Apollo",
        "estimate": {"hours": 12, "rate": 80.5},
        "steps": [{"n": 1, "m": 2}, 3, {"m": 4}],
        "grid": [[1, 2], [3, {"0": "x", "y": [5, 6]}]],
        "numbered": {"0": "zero", "01": "one", "1": ["a", "b"]},
        "7": "seven",
    },
}


def schema(model: type[BaseModel], name: str) -> Any:
    """The JSON Schema of a field, without its default and with references resolved."""
    made = model.model_json_schema(mode="serialization")
    text = dict(made["properties"][name])
    for key in ("default", "description"):
        text.pop(key, None)
    return text


def test_partial_task_keeps_field_names_and_types() -> None:
    assert list(TaskPart.model_fields) == list(TaskRead.model_fields)
    for name in set(TaskRead.model_fields) - {"owner", "checklist", "progress"}:
        assert schema(TaskPart, name) == schema(TaskRead, name)


@pytest.mark.parametrize("name", list(TaskRead.model_fields))
async def test_each_field_looks_as_in_the_whole_task(ada: Account, name: str) -> None:
    task = await ada.make_task(**TASK)
    whole = (await ada.get("/tasks")).json()[0]
    assert (await ada.get(f"/tasks?fields={name}")).json() == [{name: whole[name]}]
    assert (await ada.get(f"/tasks/{task['id']}?fields={name}")).json() == {name: whole[name]}
    assert (await ada.get(f"/tasks/{task['id']}?fields={name}&version=1")).json() == {name: whole[name]}
    assert (await ada.post("/tasks/search", json={"fields": name})).json() == [{name: whole[name]}]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("owner.username", {"owner": {"username": "ada"}}),
        ("metadata.project", {"metadata": {"project": "Apollo"}}),
        ("metadata.estimate.hours,metadata.nowhere", {"metadata": {"estimate": {"hours": 12}}}),
        pytest.param("metadata.steps.n", {"metadata": {"steps": [{"n": 1}, {}]}}, marks=pytest.mark.real),
        ("metadata.project.name", {"metadata": {}}),
        ("metadata.steps.1", {"metadata": {"steps": [3]}}),
        ("metadata.steps.0", {"metadata": {"steps": [{"n": 1, "m": 2}]}}),
        ("metadata.steps.0.n", {"metadata": {"steps": [{"n": 1}]}}),
        ("metadata.steps.2.n,metadata.steps.1.n", {"metadata": {"steps": [{}]}}),
        ("metadata.steps.2,metadata.steps.1", {"metadata": {"steps": [3, {"m": 4}]}}),
        ("metadata.steps.0.n,metadata.steps.m", {"metadata": {"steps": [{"n": 1}, {"m": 4}]}}),
        ("metadata.steps.3,metadata.steps.99999999999999999999", {"metadata": {"steps": []}}),
        pytest.param("metadata.steps.01", {"metadata": {"steps": [{}, {}]}}, marks=pytest.mark.real),
        ("metadata.steps.0,metadata.steps", {"metadata": {"steps": TASK["metadata"]["steps"]}}),
        ("metadata.grid.1.0", {"metadata": {"grid": [[3]]}}),
        ("metadata.grid.1.1.y.1", {"metadata": {"grid": [[{"y": [6]}]]}}),
        ("metadata.grid.1.1.0", {"metadata": {"grid": [[{"0": "x"}]]}}),
        ("metadata.numbered.0", {"metadata": {"numbered": {"0": "zero"}}}),
        ("metadata.numbered.01,metadata.numbered.1.0", {"metadata": {"numbered": {"01": "one", "1": ["a"]}}}),
        ("metadata.7,metadata.project.0", {"metadata": {"7": "seven"}}),
        ("metadata.project,metadata,metadata.estimate.rate", {"metadata": TASK["metadata"]}),
        ("checklist.text", {"checklist": [{"text": "Figures"}, {"text": "Pages"}]}),
        ("checklist.done,title,title", {"title": TASK["title"], "checklist": [{"done": True}, {"done": False}]}),
    ],
)
async def test_dotted_fields(ada: Account, fields: str, expected: dict[str, Any]) -> None:
    task = await ada.make_task(**TASK)
    assert (await ada.get(f"/tasks?fields={fields}")).json() == [expected]
    one = await ada.get(f"/tasks/{task['id']}?fields={fields}")
    assert one.json() == expected
    assert one.headers["etag"] == '"1"'
    assert (await ada.get(f"/tasks/{task['id']}?fields={fields}&version=1")).json() == expected
    assert (await ada.get("/tasks", params={"fields": fields, "sort": "-priority,title"})).json() == [expected]


@pytest.mark.parametrize(
    "fields",
    [
        "", "nothing", "id,", ",id", "id,,title", " id", "_id", "owner.password", "history", "trash", "owner.id.x", "metadata.",
        "metadata..a", "metadata.$a", "metadata.%00", "metadata.a.b.c.d.e.f.g", "$where", "checklist.0", "checklist.x", "*",
        "-id", "x" * 1001,
    ],
)  # fmt: skip
async def test_unknown_fields_are_refused(ada: Account, fields: str) -> None:
    task = await ada.make_task()
    assert list(wrong_fields(await ada.get(f"/tasks?fields={fields}"))) == ["fields"]
    assert list(wrong_fields(await ada.get(f"/tasks/{task['id']}?fields={fields}"))) == ["fields"]


async def test_task_of_an_older_version_gets_missing_fields(ada: Account) -> None:
    task = await ada.make_task()
    lacking = ["checklist", "metadata", "progress", "history"]
    await collection(TaskDocument).update_one({}, {"$unset": dict.fromkeys(lacking, "")})
    names = "checklist,metadata,progress,key"
    expected = {"checklist": [], "metadata": {}, "progress": 0.0, "key": None}
    assert (await ada.get(f"/tasks?fields={names}")).json() == [expected]
    assert (await ada.get(f"/tasks/{task['id']}?fields={names}")).json() == expected
    assert (await ada.get("/tasks?fields=metadata.a,checklist.text")).json() == [{"metadata": {}, "checklist": []}]


def test_only_the_fields_and_the_version_are_read() -> None:
    read = Projection.of("id,title,owner.username,metadata.project").stored("created_at", "_id")
    assert read == {"_id": 1, "title": 1, "metadata.project": 1, "created_at": 1, "version": 1}


async def test_the_entity_tags_are_those_of_the_whole(ada: Account) -> None:
    task = await ada.make_task()
    list_tag = (await ada.get("/tasks?fields=title")).headers["etag"]
    assert (await ada.get("/tasks")).headers["etag"] == list_tag
    assert (await ada.get("/tasks?fields=title", headers={"If-None-Match": list_tag})).status_code == 304
    assert (await ada.get(f"/tasks/{task['id']}?fields=title", headers={"If-None-Match": '"1"'})).status_code == 304
    await ada.patch(f"/tasks/{task['id']}", json={"priority": 5})
    assert (await ada.get("/tasks?fields=title", headers={"If-None-Match": list_tag})).status_code == 200
    assert (await stored_task(task["id"]))["version"] == 2


async def test_a_foreign_task_is_missing_in_part_too(ada: Account, bob: Account) -> None:
    task = await bob.make_task()
    is_problem(await ada.get(f"/tasks/{task['id']}?fields=id"), 404, "not_found")
    is_problem(await ada.get("/tasks/nothing?fields=id"), 404, "not_found")
