"""The export: exactly the tasks that match, as of one moment, in both formats."""

import asyncio
import csv
import json
from contextlib import closing
from io import StringIO
from typing import Any

import pytest
from bson import ObjectId
from motor.motor_asyncio import AsyncIOMotorClient

from taskapi.accounts.users.schemas import UserRead
from taskapi.db.connection import BSON, Database, make_client
from taskapi.db.snapshots import stream_batches
from taskapi.tasks.import_export.csv_cells import write_cell
from taskapi.tasks.import_export.csv_writer import csv_line
from taskapi.tasks.import_export.export import ExportQuery, ExportService, Format
from taskapi.tasks.schemas import READ_EXAMPLE, TaskRead
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, is_problem, stored_user, wrong_fields
from tests.conftest import make_settings
from tests.stored import collection, service
from tests.tools import PATIENCE_SECONDS

pytestmark = pytest.mark.real

EXAMPLE = {**READ_EXAMPLE, "_id": READ_EXAMPLE["id"]}
RICH: dict[str, Any] = {
    "title": "Rich, “quoted”, and\u2028separated",
    "description": 'line one\r\nline "two", with; separators\n\ttab\u0300\u2028',
    "priority": 5,
    "due_date": "2027-01-31",
    "tags": ["work", "ünïcode", "a,b"],
    "links": ["https://example.com/?q=a,b&c=%22"],
    "checklist": [{"text": "one", "done": True}, {"text": "=two()"}],
    "metadata": {
        "int": 2**63 - 1,
        "float": 1.0,
        "small": 5e-324,
        "big": 1e22,
        "minus": -0.0,
        "null": None,
        "a.b": [{"c": "d\n"}],
    },
}


def lines(text: str) -> list[Any]:
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.split("\n")[:-1]]


def records(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(text, newline=""), strict=True))


async def reader(account: Account) -> UserRead:
    return UserRead.model_validate(await stored_user(account.id))


async def test_a_line_is_what_the_task_itself_shows(ada: Account) -> None:
    made = [await ada.make_task(**RICH), await ada.make_task("done", completed=True), await ada.make_task("plain")]
    answer = await ada.get("/tasks/export")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/jsonl"
    assert answer.headers["content-disposition"] == 'attachment; filename="tasks.jsonl"'
    assert answer.headers["cache-control"] == "no-store"
    written = answer.content.split(b"\n")
    assert written.pop() == b""
    assert written == [(await ada.get(f"/tasks/{task['id']}")).content for task in reversed(made)]


async def test_csv_holds_every_field(ada: Account) -> None:
    made = await ada.make_task(**RICH)
    answer = await ada.get("/tasks/export?format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert answer.headers["content-disposition"] == 'attachment; filename="tasks.csv"'
    (row,) = records(answer.text)
    assert list(row) == list(TaskRead.model_fields)
    for name, value in made.items():
        if isinstance(value, bool | list | dict):
            assert json.loads(row[name]) == value
        else:
            assert row[name] == ("" if value is None else str(value)), name
    assert answer.text.count("\r\n") - RICH["description"].count("\r\n") == 2


async def test_csv_starts_with_byte_order_mark_on_request(ada: Account) -> None:
    await ada.make_task("Grüße")
    plain = await ada.get("/tasks/export?format=csv&bom=false")
    marked = await ada.get("/tasks/export?bom=true", headers={"accept": "text/csv"})
    assert marked.content == b"\xef\xbb\xbf" + plain.content
    assert marked.headers["content-type"] == plain.headers["content-type"]
    assert wrong_fields(await ada.get("/tasks/export?bom=true")) == {"bom": "csv_only"}
    assert wrong_fields(await ada.get("/tasks/export?format=jsonl&bom=true")) == {"bom": "csv_only"}
    assert wrong_fields(await ada.get("/tasks/export?format=csv&bom=1")) == {"bom": "bool_parsing"}


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
async def test_nothing_is_an_empty_file(ada: Account, bob: Account, kind: str) -> None:
    await bob.make_task("not hers")
    header = ",".join(TaskRead.model_fields) + "\r\n" if kind == "csv" else ""
    assert (await ada.get(f"/tasks/export?format={kind}")).text == header


async def test_only_the_callers_tasks_are_in_it(ada: Account, bob: Account) -> None:
    mine = [(await ada.make_task(f"mine {number}"))["id"] for number in range(3)]
    deleted = await ada.make_task("in the trash")
    await ada.delete(f"/tasks/{deleted['id']}")
    await bob.make_task("theirs")
    assert {task["id"] for task in lines((await ada.get("/tasks/export")).text)} == set(mine)
    is_problem(await ada.client.get("/tasks/export"), 401, "not_authenticated")


async def test_filters_and_sort_are_those_of_the_list(ada: Account) -> None:
    for number in range(12):
        done = {"status": "done"} if number % 3 == 0 else {}
        await ada.make_task(f"task {number:02}", priority=1 + number % 5, tags=[f"t{number % 2}"], **done)
    queries = (
        'where={"priority":{"$gte":3}}&sort=title',
        'q=task&sort=title&where={"tags":"t1"}',
        "q=07 03 -03",
        "status=done",
        "completed=false&sort=title",
        "tag=T1&sort=-title",
        "priority=2",
        "sort=-priority,due_date",
    )
    for query in queries:
        listed = (await ada.get(f"/tasks?limit=100&{query}")).json()
        assert lines((await ada.get(f"/tasks/export?{query}")).text) == listed
        assert [row["id"] for row in records((await ada.get(f"/tasks/export?format=csv&{query}")).text)] == [
            task["id"] for task in listed
        ]


async def test_accept_chooses_where_the_query_does_not(ada: Account) -> None:
    async def kind(accept: str, query: str = "") -> str:
        answer = await ada.get(f"/tasks/export{query}", headers={"accept": accept})
        assert "Accept" in answer.headers["vary"]
        return answer.headers["content-disposition"] if answer.status_code == 200 else str(answer.json()["error"])

    jsonl, csv_ = 'attachment; filename="tasks.jsonl"', 'attachment; filename="tasks.csv"'
    assert [await kind(accept) for accept in ("*/*", "application/jsonl", "text/csv", "text/*")] == [jsonl, jsonl, csv_, csv_]
    assert await kind("text/csv, application/jsonl;q=0.5") == csv_
    assert await kind("text/html, */*;q=0.1", "?format=csv") == csv_
    assert await kind("text/csv", "?format=jsonl") == "not_acceptable"
    assert await kind("application/json") == "not_acceptable"


@pytest.mark.parametrize(
    "query",
    [
        'where={"nonsense":1}',
        "where=x",
        "q=",
        "format=xml",
        "format=",
        "sort=owner",
        "status=open",
        "limit=5",
        "offset=5",
        "nonsense=1",
    ],
)
async def test_what_it_does_not_know_is_refused(ada: Account, query: str) -> None:
    (field,) = wrong_fields(await ada.get(f"/tasks/export?{query}"))
    assert field.partition(".")[0] == query.partition("=")[0]


@pytest.mark.parametrize(
    "text",
    [
        "=1+1", "+1", "-1", "@SUM(A1)", "\tplain", "\rplain", "\nplain", "  =1", "\u00a0=1", "\u3000@x",
        "\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20SUM(A1)", '=cmd|"/C calc"!A0', "-2+3+cmd|' /C calc'!A0",
        "'=1", "''=1", "'\t", "' =1",
    ],
)  # fmt: skip
def test_text_a_spreadsheet_may_execute_is_quoted(text: str) -> None:
    task = TaskRead.model_validate_json(json.dumps(EXAMPLE | {"title": text, "description": text, "key": text}))
    row = dict(zip(TaskRead.model_fields, next(csv.reader(StringIO(csv_line(task), newline=""))), strict=True))
    assert {row["title"], row["description"], row["key"]} == {f"'{text}"}
    assert (row["priority"], row["version"], row["progress"]) == ("3", "1", "0.5")


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("\t=1", "'\t'=1"),
        ("\r=1", "'\r'=1"),
        ("a;=1", "'a;'=1"),
        ("one\n- two\n3", "'one\n'- two\n3"),
        ("a,\u200b=1;b", "'a,'\u200b=1;b"),
        ("\ufeff=1", "'\ufeff=1"),
        ("\xad\u202e@x", "'\xad\u202e@x"),
        ("a; b, c", "a; b, c"),
        ("x-ray; e=mc2", "x-ray; e=mc2"),
    ],
)
def test_each_piece_a_spreadsheet_may_split_is_quoted(text: str, cell: str) -> None:
    assert write_cell(text) == cell


def test_formula_sign_starting_a_json_piece_is_escaped() -> None:
    assert write_cell(["@home", "a;=1"]) == '["@home","a;\\u003d1"]'
    assert write_cell({"a": -1, "b": [1, -5, "\t\uff1d1"]}) == '{"a":-1,"b":[1,-5,"\\t\uff1d1"]}'


@pytest.mark.parametrize("text", ["plain", "1-1", "a=b", "'=1", "[1]", "=", ""])
def test_no_cell_begins_a_formula(text: str) -> None:
    task = TaskRead.model_validate_json(json.dumps(EXAMPLE | {"tags": [text], "metadata": {text: text}}))
    for cell in next(csv.reader(StringIO(csv_line(task), newline=""))):
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


async def seed(account: Account, count: int) -> list[ObjectId]:
    task = await template(account)
    many = [{**task, "_id": ObjectId(), "title": f"task {number:05}"} for number in range(count)]
    await collection(TaskDocument).insert_many(many)
    return [made["_id"] for made in many]


async def template(account: Account) -> dict[str, Any]:
    made = await account.make_task(**RICH)
    found = await collection(TaskDocument).find_one_and_delete({"_id": ObjectId(made["id"])})
    assert found is not None
    return found


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
async def test_writes_during_an_export_are_not_in_it(ada: Account, kind: str) -> None:
    ids = await seed(ada, 1000)
    query = ExportQuery.model_validate({"sort": "title"})
    parts = service(ExportService).parts(await reader(ada), query, Format(kind))
    text = await anext(parts)
    tasks = collection(TaskDocument)
    await tasks.delete_many({"_id": {"$in": ids[600:700]}})
    await tasks.update_many({"_id": {"$in": ids[700:]}}, {"$set": {"title": "aaa"}})
    await tasks.update_many({"_id": {"$in": ids[:100]}}, {"$set": {"title": "zzz"}})
    await seed(ada, 50)
    text += b"".join([part async for part in parts])
    found = lines(text.decode()) if kind == "jsonl" else records(text.decode())
    assert [task["title"] for task in found] == [f"task {number:05}" for number in range(1000)]
    assert [task["id"] for task in found] == list(map(str, ids))


async def open_cursors() -> int:
    """The open cursors of this test's database, but for those of change streams, which stay open."""
    tasks = collection(TaskDocument)
    stages: list[dict[str, Any]] = [
        {"$currentOp": {"idleCursors": True, "allUsers": True}},
        {"$match": {"type": "idleCursor", "ns": f"{tasks.database.name}.{tasks.name}", "cursor.tailable": {"$ne": True}}},
    ]
    return len(await tasks.database.client.admin.aggregate(stages).to_list(None))


async def no_cursor_is_left() -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await open_cursors():  # noqa: ASYNC110 - only MongoDB knows
            await asyncio.sleep(0.02)


async def test_the_cursor_goes_with_its_reader(ada: Account) -> None:
    await seed(ada, 500)
    parts = service(ExportService).parts(await reader(ada), ExportQuery(), Format.jsonl)
    await anext(parts)
    assert await open_cursors() == 1
    await parts.aclose()
    await no_cursor_is_left()


async def test_cancelling_a_waiting_reader_closes_its_cursor(ada: Account) -> None:
    await seed(ada, 500)

    async def read() -> None:
        pipeline: list[BSON] = [{"$match": {"owner_id": ObjectId(ada.id)}}, {"$sort": {"_id": 1}}]
        async for _ in stream_batches(collection(TaskDocument), lambda _: pipeline, 2):
            pass

    for seconds in (0.0, 0.002, 0.005, 0.02):
        task = asyncio.create_task(read())
        await asyncio.wait([task], timeout=seconds)
        task.cancel()
        await asyncio.wait([task])
    await no_cursor_is_left()


async def test_an_export_outlasts_the_time_of_one_operation(ada: Account) -> None:
    """The driver would send its timeout as the time limit of the whole cursor."""
    await seed(ada, 10)
    numbers = {"$range": [0, {"$add": [100_000, "$priority"]}]}  # differ by task, so MongoDB counts them for each
    slow = {"$reduce": {"input": numbers, "initialValue": 0, "in": {"$add": ["$$value", "$$this"]}}}
    pipeline: list[BSON] = [{"$match": {"owner_id": ObjectId(ada.id), "$expr": slow}}]
    settings = make_settings()
    with closing(make_client(AsyncIOMotorClient, settings, {"timeoutMS": 500})) as client:
        tasks = Database(client, settings.mongodb_database).collection(TaskDocument)
        found = [len(batch) async for batch in stream_batches(tasks, lambda _: pipeline, 2)]
    assert sum(found) == 10
