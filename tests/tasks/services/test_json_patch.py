"""PATCH by media type: the test vectors of both RFCs on a task's metadata, and what a patch of a task may not do."""

import asyncio
from typing import Any

import pytest

from taskapi.tasks.services.json_patch import Operation, apply_patch
from tests.client import Account, is_problem, stored_task, wrong_fields

MERGE = {"Content-Type": "application/merge-patch+json"}
PATCH = {"Content-Type": "application/json-patch+json"}

# RFC 7396, appendix A: the original, the patch, the result.
MERGE_VECTORS: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]
# RFC 6902, appendix A: the original, the patch, the result; a string is the code of the refusal.
PATCH_VECTORS: dict[str, tuple[Any, list[dict[str, Any]], Any]] = {
    "A.1 adding an object member": (
        {"foo": "bar"},
        [{"op": "add", "path": "/baz", "value": "qux"}],
        {"baz": "qux", "foo": "bar"},
    ),
    "A.2 adding an array element": (
        {"foo": ["bar", "baz"]},
        [{"op": "add", "path": "/foo/1", "value": "qux"}],
        {"foo": ["bar", "qux", "baz"]},
    ),
    "A.3 removing an object member": ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
    "A.4 removing an array element": (
        {"foo": ["bar", "qux", "baz"]},
        [{"op": "remove", "path": "/foo/1"}],
        {"foo": ["bar", "baz"]},
    ),
    "A.5 replacing a value": (
        {"baz": "qux", "foo": "bar"},
        [{"op": "replace", "path": "/baz", "value": "boo"}],
        {"baz": "boo", "foo": "bar"},
    ),
    "A.6 moving a value": (
        {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
        [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
    ),
    "A.7 moving an array element": (
        {"foo": ["all", "grass", "cows", "eat"]},
        [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
        {"foo": ["all", "cows", "eat", "grass"]},
    ),
    "A.8 testing a value: success": (
        {"baz": "qux", "foo": ["a", 2, "c"]},
        [{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}],
        {"baz": "qux", "foo": ["a", 2, "c"]},
    ),
    "A.9 testing a value: error": ({"baz": "qux"}, [{"op": "test", "path": "/baz", "value": "bar"}], "patch_test_failed"),
    "A.10 adding a nested member object": (
        {"foo": "bar"},
        [{"op": "add", "path": "/child", "value": {"grandchild": {}}}],
        {"foo": "bar", "child": {"grandchild": {}}},
    ),
    "A.11 ignoring unrecognized elements": (
        {"foo": "bar"},
        [{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}],
        {"foo": "bar", "baz": "qux"},
    ),
    "A.12 adding to a nonexistent target": (
        {"foo": "bar"},
        [{"op": "add", "path": "/baz/bat", "value": "qux"}],
        "validation_error",
    ),
    "A.14 escape ordering": (
        {"/": 9, "~1": 10},
        [{"op": "test", "path": "/~01", "value": 10}],
        {"/": 9, "~1": 10},
    ),
    "A.15 comparing strings and numbers": (
        {"/": 9, "~1": 10},
        [{"op": "test", "path": "/~01", "value": "10"}],
        "patch_test_failed",
    ),
    "A.16 adding an array value": (
        {"foo": ["bar"]},
        [{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}],
        {"foo": ["bar", ["abc", "def"]]},
    ),
}


@pytest.mark.parametrize("media_type", ["application/json", "application/merge-patch+json"])
@pytest.mark.parametrize(("original", "patch", "result"), MERGE_VECTORS)
async def test_merge_patch_vectors(ada: Account, original: Any, patch: Any, result: Any, media_type: str) -> None:
    task = await ada.make_task(metadata={"doc": original})
    headers = {"Content-Type": media_type}
    answer = await ada.patch(f"/tasks/{task['id']}", json={"metadata": {"doc": patch}}, headers=headers)
    expected = {} if result is None else {"doc": result}
    assert (answer.status_code, answer.json()["metadata"]) == (200, expected)
    assert (await stored_task(task["id"]))["metadata"] == expected


@pytest.mark.parametrize(("original", "patch", "result"), PATCH_VECTORS.values(), ids=list(PATCH_VECTORS))
async def test_json_patch_vectors(ada: Account, original: Any, patch: list[dict[str, Any]], result: Any) -> None:
    task = await ada.make_task(metadata={"doc": original})
    pointers = ("path", "from")
    inside = [{**op, **{name: f"/metadata/doc{op[name]}" for name in pointers if name in op}} for op in patch]
    answer = await ada.patch(f"/tasks/{task['id']}", json=inside, headers=PATCH)
    if isinstance(result, str):
        assert (answer.status_code, answer.json()["error"]) == ({"patch_test_failed": 409}.get(result, 422), result)
        result = original
    else:
        assert answer.status_code == 200
    assert (await stored_task(task["id"]))["metadata"] == {"doc": result}


async def test_json_patch_of_a_task_is_one_write(ada: Account) -> None:
    task = await ada.make_task("Before", tags=["a", "b"], description="x", due_date="2027-01-31", checklist=[{"text": "one"}])
    patch = [
        {"op": "test", "path": "/version", "value": 1},
        {"op": "replace", "path": "/title", "value": "After"},
        {"op": "move", "from": "/tags/0", "path": "/tags/-"},
        {"op": "copy", "from": "/title", "path": "/metadata/name"},
        {"op": "remove", "path": "/description"},
        {"op": "remove", "path": "/due_date"},
        {"op": "replace", "path": "/completed", "value": True},
        {"op": "replace", "path": "/checklist/0/done", "value": True},
        {"op": "add", "path": "/checklist/-", "value": {"text": "two"}},
    ]
    answer = await ada.patch(f"/tasks/{task['id']}", json=patch, headers={**PATCH, "If-Match": '"1"'})
    assert answer.status_code == 200, answer.text
    after = answer.json()
    assert answer.headers["etag"] == '"2"'
    assert (after["title"], after["tags"], after["metadata"]) == ("After", ["b", "a"], {"name": "After"})
    assert (after["description"], after["due_date"]) == ("", None)
    assert (after["status"], after["completed"], after["progress"]) == ("done", True, 0.5)
    assert after["checklist"][0] == {**task["checklist"][0], "done": True}
    assert (await stored_task(task["id"]))["version"] == 2
    nothing = await ada.patch(f"/tasks/{task['id']}", json=[patch[1]], headers=PATCH)
    assert (nothing.status_code, nothing.headers["etag"]) == (200, '"2"')


REFUSED: list[tuple[Any, list[str]]] = [
    ([{"op": "replace", "path": "/id", "value": "x"}], ["id"]),
    ([{"op": "remove", "path": "/owner"}], ["owner"]),
    ([{"op": "replace", "path": "/owner/username", "value": "bob"}], ["owner"]),
    ([{"op": "replace", "path": "/version", "value": 1.0}], ["version"]),
    ([{"op": "replace", "path": "/progress", "value": 1}], ["progress"]),
    ([{"op": "add", "path": "/history", "value": []}], ["history"]),
    ([{"op": "add", "path": "/trash", "value": {}}], ["trash"]),
    ([{"op": "remove", "path": "/title"}], ["title"]),
    ([{"op": "remove", "path": "/status"}], ["status"]),
    ([{"op": "replace", "path": "/title", "value": "ab"}], ["title"]),
    ([{"op": "replace", "path": "/priority", "value": "5"}], ["priority"]),
    ([{"op": "replace", "path": "", "value": []}], [""]),
    ([{"op": "remove", "path": ""}], ["0"]),
    ([{"op": "remove", "path": "/nothing"}], ["0"]),
    ([{"op": "add", "path": "title", "value": "no slash"}], ["0"]),
    ([{"op": "add", "path": "/title/0", "value": "x"}], ["0"]),
    ([{"op": "add", "path": "/tags/7", "value": "x"}], ["0"]),
    ([{"op": "replace", "path": "/tags/-", "value": "x"}], ["0"]),
    ([{"op": "add", "path": "/tags/00", "value": "x"}], ["0"]),
    ([{"op": "add", "path": "/metadata/~2", "value": 1}], ["0"]),
    ([{"op": "add", "path": "/tags/0"}], ["0"]),
    ([{"op": "move", "path": "/tags/0"}], ["0"]),
    ([{"op": "copy", "path": "/tags/0"}], ["0"]),
    ([{"op": "copy", "from": "/tags/-", "path": "/tags/0"}], ["0"]),
    ([{"op": "copy", "from": "/nothing", "path": "/tags/0"}], ["0"]),
    ([{"op": "move", "from": "/metadata", "path": "/metadata/inside"}], ["0"]),
    ([{"op": "append", "path": "/title", "value": "x"}], ["0.op"]),
    ([{"path": "/title", "value": "x"}], ["0.op"]),
    ([{"op": "add", "path": "/metadata/$where", "value": 1}], ["metadata"]),
    ([{"op": "add", "path": "/metadata/n", "value": 2**63}], ["metadata"]),
    ({"op": "remove", "path": "/description"}, [""]),
    ("remove", [""]),
    ([1], ["0"]),
]


@pytest.mark.parametrize(("patch", "fields"), REFUSED)
async def test_a_patch_that_cannot_land_changes_nothing(ada: Account, patch: Any, fields: list[str]) -> None:
    task = await ada.make_task("Stays", tags=["a"], metadata={"a": 1})
    before = await stored_task(task["id"])
    found = wrong_fields(await ada.patch(f"/tasks/{task['id']}", json=patch, headers=PATCH))
    assert list(found) == fields
    assert await stored_task(task["id"]) == before


async def test_copies_of_copies_do_not_fill_the_memory(ada: Account) -> None:
    task = await ada.make_task(metadata={"a": "x" * 1000})
    doubling = [{"op": "copy", "from": "/metadata", "path": f"/metadata/{n}"} for n in range(100)]
    found = wrong_fields(await ada.patch(f"/tasks/{task['id']}", json=doubling, headers=PATCH))
    assert list(found.values()) == ["patch_size"]
    deeper = [{"op": "copy", "from": "/metadata", "path": "/metadata" + "/a" * n} for n in range(1, 80)]
    found = wrong_fields(await ada.patch(f"/tasks/{(await ada.make_task())['id']}", json=deeper, headers=PATCH))
    assert list(found.values()) == ["patch_size"]
    many = [{"op": "test", "path": "/version", "value": 1}] * 101
    assert list(wrong_fields(await ada.patch(f"/tasks/{task['id']}", json=many, headers=PATCH)).values()) == ["too_long"]


@pytest.mark.parametrize("kind", ["add", "replace", "test"])
async def test_impossible_values_are_refused_without_being_traversed(ada: Account, kind: str) -> None:
    task = await ada.make_task()
    large = [{"op": kind, "path": "/metadata", "value": {"a": [[]] * 25_000, "b": "b" * 200_000}}]
    found = wrong_fields(await ada.patch(f"/tasks/{task['id']}", json=large, headers=PATCH))
    assert found == {"0": "patch_size"}


async def test_a_test_knows_the_kinds_of_json(ada: Account) -> None:
    task = await ada.make_task(metadata={"one": 1, "yes": True})
    for path, value in (("one", True), ("one", "1"), ("yes", 1), ("nothing", None)):
        patch = [{"op": "test", "path": f"/metadata/{path}", "value": value}]
        is_problem(await ada.patch(f"/tasks/{task['id']}", json=patch, headers=PATCH), 409, "patch_test_failed")


async def test_unsupported_media_type_lists_the_accepted_ones(ada: Account) -> None:
    task = await ada.make_task()
    answer = await ada.patch(f"/tasks/{task['id']}", content=b"{}", headers={"Content-Type": "text/plain"})
    problem = is_problem(answer, 415, "unsupported_media_type")
    assert "application/json-patch+json" in problem["detail"]
    is_problem(await ada.put(f"/tasks/{task['id']}", json=[], headers=PATCH), 415, "unsupported_media_type")


async def test_foreign_task_cannot_be_patched(ada: Account, bob: Account) -> None:
    task = await ada.make_task()
    patch = [{"op": "test", "path": "/title", "value": "A task"}]
    is_problem(await bob.patch(f"/tasks/{task['id']}", json=patch, headers=PATCH), 404, "not_found")
    is_problem(await bob.patch(f"/tasks/{task['id']}", json={"metadata": {"a": 1}}, headers=MERGE), 404, "not_found")


@pytest.mark.real
async def test_patches_of_one_task_at_once_all_land(ada: Account) -> None:
    task = await ada.make_task()
    path = f"/tasks/{task['id']}"
    merges = [ada.patch(path, json={"metadata": {f"m{n}": n}}, headers=MERGE) for n in range(20)]
    patches = [ada.patch(path, json=[{"op": "add", "path": f"/metadata/p{n}", "value": n}], headers=PATCH) for n in range(20)]
    answers = await asyncio.gather(*merges, *patches)
    assert {answer.status_code for answer in answers} == {200}
    kept = await stored_task(task["id"])
    assert kept["metadata"] == {**{f"m{n}": n for n in range(20)}, **{f"p{n}": n for n in range(20)}}
    assert kept["version"] == 41


async def test_many_operations_do_not_block_other_requests() -> None:
    passes = 0

    async def count() -> None:
        nonlocal passes
        while True:
            await asyncio.sleep(0)
            passes += 1

    counting = asyncio.create_task(count())
    value = {"list": list(range(2000))}
    operations = [Operation(op="test", path="/metadata", value=value)] * 10
    assert await apply_patch({"metadata": value}, operations) == {"metadata": value}
    counting.cancel()
    assert passes
