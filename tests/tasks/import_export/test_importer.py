"""The import: an account can import what another has exported, and no input breaks it or is applied twice."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI

from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, is_problem, stored_task, wrong_fields
from tests.conftest import another
from tests.stored import collection
from tests.tasks.import_export.test_export import RICH, lines

pytestmark = pytest.mark.real

JSONL = {"content-type": "application/jsonl"}
THEIR_OWN = ("id", "owner", "version")


def jsonl(*tasks: Any) -> bytes:
    return b"".join(json.dumps(task).encode() + b"\n" for task in tasks)


async def take(account: Account, content: Any, query: str = "") -> dict[str, Any]:
    """Imports lines. Returns the report without zero and empty values."""
    content = content if isinstance(content, bytes) else jsonl(*content)
    answer = await account.post(f"/tasks/import{query}", content=content, headers=JSONL)
    assert answer.status_code == 200, answer.text
    report: dict[str, Any] = answer.json()
    assert list(report) == ["lines", "created", "updated", "unchanged", "failed", "errors", "errors_omitted"]
    assert report["lines"] == sum(report[name] for name in ("created", "updated", "unchanged", "failed"))
    return {name: value for name, value in report.items() if value}


async def tasks_of(account: Account) -> list[dict[str, Any]]:
    return lines((await account.get("/tasks/export?sort=title")).text)


async def faults(account: Account, line: Any) -> set[tuple[str, str]]:
    """The fields and types of the errors in one line, which is not imported."""
    report = await take(account, line if isinstance(line, bytes) else [line])
    assert (report.get("failed"), report.get("created")) == (1, None)
    assert {error["line"] for error in report["errors"]} == {1}
    return {(error["field"], error["type"]) for error in report["errors"]}


async def count() -> int:
    return await collection(TaskDocument).count_documents({})


async def test_what_one_account_exports_another_takes_in(ada: Account, bob: Account) -> None:
    await ada.make_task(**RICH)
    await ada.make_task("plain")
    done = await ada.make_task("done", status="done", links=["http://münchen.example/straße?x=ä#ö"])
    await ada.patch(f"/tasks/{done['id']}", json={"description": "later"})
    await take(ada, [{"title": "with a key", "key": "=k\u2028", "created_at": "2001-02-03T04:05:06.789Z"}])
    answer = await ada.get("/tasks/export?sort=title")
    assert await take(bob, answer.content) == {"lines": 4, "created": 4}
    copies = (await bob.get("/tasks/export?sort=title")).content
    for original, copy in zip(answer.content.splitlines(), copies.splitlines(), strict=True):
        theirs, mine = json.loads(original), json.loads(copy)
        assert list(theirs) == list(mine)
        for name, value in theirs.items():
            if name not in THEIR_OWN:
                assert json.dumps(mine[name]) == json.dumps(value), name
        assert (mine["owner"]["username"], mine["version"]) == ("bob", 1)
        assert mine["id"] != theirs["id"]
        (created,) = (await stored_task(mine["id"]))["history"]
        assert (created["action"], created["version"], created["by"]["username"]) == ("create", 1, "bob")


async def test_a_line_may_be_what_a_post_takes(ada: Account) -> None:
    assert await take(ada, [{"title": "by its title"}]) == {"lines": 1, "created": 1}
    (task,) = await tasks_of(ada)
    posted = await ada.make_task("by its title")
    different = {"id", "created_at", "updated_at"}
    assert {name: value for name, value in task.items() if name not in different} == {
        name: value for name, value in posted.items() if name not in different
    }
    imported, made = await stored_task(task["id"]), await stored_task(posted["id"])
    assert list(imported) == list(made)
    assert "key" not in imported


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"title"', {("", "malformed_json")}),
        (b'{"title": "abc"} {"title": "def"}', {("", "malformed_json")}),
        (b'{"title": "a\xffc"}', {("", "malformed_json")}),
        (b'{"title": "abc", "metadata": {"a": NaN}}', {("", "malformed_json")}),
        (b'{"title": "abc", "title": "def"}', {("", "malformed_json")}),
        (b'{"a":' * 40_000, {("", "malformed_json")}),
        ('{"title": "abc"}'.encode("utf-16"), {("", "malformed_json")}),
        (b"7", {("", "model_type")}),
        (b"null", {("", "model_type")}),
        (b'{"title": "\\ud800abc"}', {("title", "string_unicode")}),
        (b'{"title": "' + b"x" * 262_144 + b'"}', {("", "line_too_long")}),
        (jsonl({f"field{number}": 1 for number in range(101)}), {("", "too_many_fields")}),
        ({}, {("title", "missing")}),
        ({"title": "abc", "color": 1, "deleted_at": None}, {("color", "extra_forbidden"), ("deleted_at", "extra_forbidden")}),
        ({"title": "abc", "$where": "1"}, {("$where", "extra_forbidden")}),
        ({"title": "abc", "history": []}, {("history", "extra_forbidden")}),
        ({"title": "abc", "key": ""}, {("key", "string_too_short")}),
        ({"title": "abc", "key": "x" * 101}, {("key", "string_too_long")}),
        ({"title": "abc", "key": 7}, {("key", "string_type")}),
        ({"title": "abc", "key": "\x00"}, {("key", "string_nul")}),
        ({"title": "abc", "key": {"$gt": ""}}, {("key", "string_type")}),
        ({"title": "abc", "checklist": [{"id": "nonsense", "text": "x"}]}, {("checklist.0.id", "string_pattern_mismatch")}),
        ({"title": "abc", "links": ["https://example.com/" + "ä" * 1000]}, {("links.0", "string_too_long")}),
        ({"title": "abc", "metadata": {"$a": 1}}, {("metadata", "metadata_key")}),
        ({"title": "abc", "status": "done", "completed": False}, {("completed", "contradiction")}),
        ({"title": "abc", "completed_at": "2020-01-01T00:00:00Z"}, {("completed_at", "contradiction")}),
        ({"title": "abc", "status": "todo", "completed_at": "2020-01-01T00:00:00Z"}, {("completed_at", "contradiction")}),
        (
            {"title": "abc", "created_at": "2020-01-02T00:00:00Z", "updated_at": "2020-01-01T00:00:00Z"},
            {("updated_at", "contradiction")},
        ),
        (
            {"title": "abc", "completed": True, "created_at": "2020-01-02T00:00:00Z", "completed_at": "2020-01-01T00:00:00Z"},
            {("completed_at", "contradiction")},
        ),
        ({"title": "abc", "created_at": "2999-01-01T00:00:00Z"}, {("created_at", "datetime_future")}),
        ({"title": "abc", "updated_at": "2999-01-01T00:00:00Z"}, {("updated_at", "datetime_future")}),
        ({"title": "abc", "created_at": "2020-01-01"}, {("created_at", "datetime_format")}),
        ({"title": "abc", "created_at": "2020-01-01T00:00:00"}, {("created_at", "datetime_format")}),
        ({"title": "abc", "created_at": "2020-02-30T00:00:00Z"}, {("created_at", "datetime_format")}),
        ({"title": "abc", "created_at": "0001-01-01T00:00:00+23:59"}, {("created_at", "datetime_format")}),
        ({"title": "abc", "created_at": "20200101T000000Z"}, {("created_at", "datetime_format")}),
        ({"title": "abc", "created_at": 1577836800}, {("created_at", "datetime_format")}),
        ({"title": "abc", "created_at": None}, {("created_at", "datetime_format")}),
    ],
    ids=lambda value: repr(value)[:60] if not isinstance(value, set) else "",
)  # fmt: skip
async def test_a_wrong_line_says_what_is_wrong(ada: Account, line: Any, expected: set[tuple[str, str]]) -> None:
    assert await faults(ada, line) == expected
    assert await count() == 0


async def test_line_with_a_missing_day_says_so(ada: Account) -> None:
    report = await take(ada, [{"title": "task", "created_at": "2020-02-30T00:00:00Z", "due_date": "2020-02-30"}])
    assert {(error["field"], error["message"]) for error in report["errors"]} == {
        (name, "There is no such day") for name in ("created_at", "due_date")
    }
    assert await count() == 0


async def test_a_wrong_line_stops_no_other(ada: Account) -> None:
    text = b'\xef\xbb\xbf{"title": "first"}\r\n\r\n  \t\nnonsense\n{"title": "seventh", "priority": 9}\n{"title": "last"}'
    report = await take(ada, text)
    assert [(error["line"], error["field"]) for error in report.pop("errors")] == [(4, ""), (5, "priority")]
    assert report == {"lines": 4, "created": 2, "failed": 2}
    assert [task["title"] for task in await tasks_of(ada)] == ["first", "last"]


async def test_errors_never_repeat_what_was_sent(ada: Account) -> None:
    answer = await ada.post("/tasks/import", content=b'{"title": "hunter2" "x"}\n{"title": ["hunter2"]}', headers=JSONL)
    assert answer.json()["failed"] == 2
    assert "hunter2" not in answer.text


async def test_errors_are_cut_short(ada: Account) -> None:
    report = await take(ada, [{"title": 1, "priority": 0}] * 80 + [{"title": "right"}])
    assert (report["lines"], report["created"], report["failed"]) == (81, 1, 80)
    assert (len(report["errors"]), report["errors_omitted"]) == (100, 60)


@pytest.mark.parametrize("query", ["", "?dry_run=true"])
async def test_errors_are_the_first_by_line(ada: Account, query: str) -> None:
    await take(ada, [{"title": "due", "key": "k", "due_date": "2020-01-01"}])
    invalid, late = {"title": 1, "priority": 0}, {"title": "late", "key": "k", "start_date": "2020-01-02"}
    report = await take(ada, [*[invalid] * 20, late, *[invalid] * 60], query)
    assert [error["line"] for error in report["errors"]] == sorted([*range(1, 21)] * 2 + [21] + [*range(22, 62)] * 2)[:100]
    assert report["errors"][40]["message"] == "must not be after due_date"
    assert (report["failed"], report["errors_omitted"]) == (81, 61)


@pytest.mark.parametrize("text", [b"", b"\n", b"\r\n\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n \n"])
async def test_nothing_is_no_error(ada: Account, text: bytes) -> None:
    assert await take(ada, text) == {}


async def test_a_body_is_the_same_however_it_comes(ada: Account) -> None:
    text = '\ufeff{"title": "Grüße 😀"}\r\n\n{"title": "ab"}\n{"title": "Ende"}'.encode()

    async def stream(size: int) -> AsyncIterator[bytes]:
        for start in range(0, len(text), size):
            yield text[start : start + size]

    for size in (1, 2, 3, 7, 50):
        await collection(TaskDocument).delete_many({})
        answer = await ada.post("/tasks/import", content=stream(size), headers=JSONL)
        assert [error["line"] for error in answer.json()["errors"]] == [3]
        assert [task["title"] for task in await tasks_of(ada)] == ["Ende", "Grüße 😀"]


async def test_lines_beyond_100_000_are_refused_earlier_stay(ada: Account) -> None:
    last = json.dumps({"title": "the last one", "key": "last"}).encode()
    text = b"\n" + b"0\n" * 99_999 + last
    assert (await take(ada, text + b"\n\n"))["lines"] == 100_000
    await collection(TaskDocument).delete_many({})
    answer = await ada.post("/tasks/import", content=text + b"\n0", headers=JSONL)
    is_problem(
        answer, 413, "too_many_lines", "An import can have at most 100000 lines. Those were imported, and nothing after them."
    )
    assert [task["title"] for task in await tasks_of(ada)] == ["the last one"]
    answer = await ada.post("/tasks/import?dry_run=true", content=text + b"\n0", headers=JSONL)
    is_problem(answer, 413, "too_many_lines", "An import can have at most 100000 lines. Nothing was imported.")


async def test_empty_lines_are_skipped_up_to_a_limit(ada: Account) -> None:
    assert (await take(ada, b"\n" * 199_999 + jsonl({"title": "the last one"})))["created"] == 1
    answer = await ada.post("/tasks/import", content=b"\n" * 200_000 + b" \n", headers=JSONL)
    is_problem(answer, 413, "too_many_lines")


async def test_who_may_send_what(ada: Account) -> None:
    line = jsonl({"title": "a task"})
    is_problem(await ada.client.post("/tasks/import", content=line, headers=JSONL), 401, "not_authenticated")
    for kind in ("application/merge-patch+json", "text/plain", "", "application/x-www-form-urlencoded"):
        answer = await ada.post("/tasks/import", content=line, headers={"content-type": kind})
        is_problem(answer, 415, "unsupported_media_type")
    for kind in ("application/x-ndjson", "Application/JSONL; charset=utf-8", "application/json-lines", "application/ndjson"):
        assert (await ada.post("/tasks/import", content=line, headers={"content-type": kind})).status_code == 200
    assert wrong_fields(await ada.post("/tasks/import?dry_run=yes", content=line, headers=JSONL)) == {"dry_run": "bool_parsing"}
    assert wrong_fields(await ada.post("/tasks/import?dry=1", content=line, headers=JSONL)) == {"dry": "extra_forbidden"}


async def test_only_an_import_may_be_large(ada: Account) -> None:
    blank = b" " * 1_048_577
    assert await take(ada, blank) == {"lines": 1, "failed": 1, "errors": [
        {"line": 1, "field": "", "message": "should be at most 262144 bytes long", "type": "line_too_long"}
    ]}  # fmt: skip
    for call in (ada.patch, ada.put):
        is_problem(await call("/tasks/import", content=blank, headers=JSONL), 413, "body_too_large")
    is_problem(await ada.post("/tasks/export", content=blank), 413, "body_too_large")
    async with another(max_import_bytes=1024) as client:
        other = replace(ada, client=client)
        assert await take(other, b"\n" * 1024) == {}
        is_problem(await other.post("/tasks/import/", content=b"\n" * 1025, headers=JSONL), 413, "body_too_large")


async def test_times_are_kept(ada: Account) -> None:
    times = {"created_at": "2020-01-02T03:04:05.678999+02:00", "updated_at": "2021-01-01t00:00:00z"}
    await take(ada, [{"title": "open", **times}, {"title": "done", "completed": True, **times}])
    done, task = await tasks_of(ada)
    assert (task["created_at"], task["updated_at"]) == ("2020-01-02T01:04:05.678Z", "2021-01-01T00:00:00.000Z")
    assert (task["completed_at"], done["completed_at"]) == (None, "2021-01-01T00:00:00.000Z")
    assert done["progress"] == 1.0
    await take(ada, [{"title": "older", "status": "done", "completed_at": "2019-05-06T07:08:09Z"}])
    older = (await tasks_of(ada))[1]
    assert older["created_at"] == older["completed_at"] == "2019-05-06T07:08:09.000Z"
    assert older["updated_at"] > "2026"


async def test_what_the_server_keeps_is_ignored(ada: Account, bob: Account) -> None:
    theirs = await bob.make_task("theirs")
    odd = {"id": theirs["id"], "owner": theirs["owner"], "version": "x", "progress": [7]}
    assert await take(ada, [{"title": "mine", **odd}]) == {"lines": 1, "created": 1}
    (mine,) = await tasks_of(ada)
    assert (mine["owner"]["id"], mine["version"], mine["progress"]) == (ada.id, 1, 0.0)
    assert (await bob.get(f"/tasks/{theirs['id']}")).json() == theirs


async def test_new_tasks_get_the_current_owner_name(ada: Account) -> None:
    async def stream() -> AsyncIterator[bytes]:
        for part in range(3):
            yield jsonl(*({"title": f"task {part} {number}"} for number in range(500)))
            if part == 1:
                renamed = await ada.patch("/users/me", json={"username": "countess"})
                assert renamed.status_code == 200

    answer = await ada.post("/tasks/import", content=stream(), headers=JSONL)
    assert answer.json()["created"] == 1500
    assert {task["owner"]["username"] for task in await tasks_of(ada)} == {"countess"}


async def test_disconnected_caller_keeps_what_was_written(app: FastAPI, ada: Account) -> None:
    text = [{"title": f"task {number}", "key": str(number)} for number in range(1200)]
    messages = iter([{"type": "http.request", "body": jsonl(*text), "more_body": True}, {"type": "http.disconnect"}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(name.lower().encode(), value.encode()) for name, value in {**ada.headers, **JSONL}.items()]
    scope = {"type": "http", "method": "POST", "path": "/tasks/import", "raw_path": b"/tasks/import", "query_string": b""}
    rest = {"headers": headers, "root_path": "", "scheme": "http", "server": None, "client": None}
    await app({**scope, **rest}, receive, send)
    assert sent == []
    assert await count() == 1000
    assert await take(ada, text) == {"lines": 1200, "created": 200, "unchanged": 1000}
