"""The formats of an import: JSON Lines and a JSON array, which are never mistaken for each other."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from taskapi.tasks.routes.import_export import NAMES
from tests.client import Account, is_problem
from tests.tasks.import_export.test_export import RICH
from tests.tasks.import_export.test_importer import count, jsonl, take, tasks_of

pytestmark = pytest.mark.real

QUOTED = "The body is one JSON string. Send the lines themselves, not quoted."
ARRAY = "The body begins with an array. Send one object on each line, or an array as application/json."
SPREAD = "The first object in the body spans several lines. Send each object on one line, or an array as application/json."


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (json.dumps(jsonl({"title": "one"}, {"title": "two"}).decode()), QUOTED),
        (json.dumps("x" * 300_000), QUOTED),
        ('\ufeff\n \t"{}"', QUOTED),
        (json.dumps([{"title": "one"}, {"title": "two"}]), ARRAY),
        (json.dumps([{"title": "one"}, {"title": "two"}], indent=2), ARRAY),
        (json.dumps([{"title": "one", "description": "x" * 2000}] * 200), ARRAY),
        (json.dumps({"title": "one"}, indent=2), SPREAD),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_json_not_in_lines_is_refused_before_importing(ada: Account, body: str, detail: str) -> None:
    for kind in NAMES:
        answer = await ada.post("/tasks/import", content=body.encode(), headers={"content-type": kind})
        is_problem(answer, 400, "malformed_import", detail)
    assert await count() == 0


async def test_lines_after_a_first_object_are_judged_individually(ada: Account) -> None:
    report = await take(ada, b'{"title": "one"}\n["two"]\n"three"\n{\n{"title": "four"}')
    assert [(error["line"], error["type"]) for error in report.pop("errors")] == [
        (2, "model_type"),
        (3, "model_type"),
        (4, "malformed_json"),
    ]
    assert report == {"lines": 5, "created": 2, "failed": 3}


async def test_a_json_array_is_taken_as_json(ada: Account, bob: Account) -> None:
    await ada.make_task(**RICH)
    tasks = [{"title": "first", "key": "k"}, {"title": "x"}, 7, *(await tasks_of(ada)), {"title": "last", "key": "k"}]
    report = (await bob.post("/tasks/import?dry_run=true", json=tasks)).json()
    assert await tasks_of(bob) == []
    answer = await bob.post("/tasks/import", json=tasks)
    assert answer.json() == report
    assert [(error["line"], error["field"], error["type"]) for error in report["errors"]] == [
        (2, "title", "string_too_short"),
        (3, "", "model_type"),
    ]
    assert [report[name] for name in ("lines", "created", "updated", "failed")] == [5, 2, 1, 2]
    assert {task["title"] for task in await tasks_of(bob)} == {"last", RICH["title"]}
    assert (await bob.post("/tasks/import", json=[])).json()["lines"] == 0
    assert (await bob.post("/tasks/import", json={"title": "alone"})).json()["created"] == 1


@pytest.mark.parametrize("value", ["x", '{"title": "quoted"}\\n', 7, True])
async def test_json_that_holds_no_tasks_is_said(ada: Account, value: Any) -> None:
    detail = "The body is neither an array nor an object. Send an array of tasks, or JSON Lines."
    is_problem(await ada.post("/tasks/import", json=value), 400, "malformed_import", detail)
    is_problem(await ada.post("/tasks/import", content=b"[", headers={"content-type": "application/json"}), 400, "malformed_json")
    assert await count() == 0


async def test_json_may_be_no_larger_than_elsewhere(ada: Account) -> None:
    async def stream() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b" " * 400_000

    detail = "The body is larger than 1048576 bytes. Send more as JSON Lines."
    for kind in ("application/json", "Application/JSON; charset=utf-8"):
        for body in (b" " * 1_048_577, stream()):
            answer = await ada.post("/tasks/import", content=body, headers={"content-type": kind})
            is_problem(answer, 413, "body_too_large", detail)
