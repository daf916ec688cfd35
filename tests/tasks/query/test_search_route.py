"""Search: by text, with a request body, with each kind of total, and within its time limit."""

from typing import Any

import pytest
from bson import ObjectId

from taskapi.tasks.query import search as query
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, is_problem, stored_task, wrong_fields
from tests.conftest import another
from tests.stored import collection
from tests.tasks.query.test_cursor import walk

TASKS: list[dict[str, Any]] = [
    {"title": "Garden report", "description": "Nothing else."},
    {"title": "Plain one", "tags": ["garden"], "priority": 3},
    {"title": "Plain two", "checklist": [{"text": "Rake the GARDEN"}], "priority": 3},
    {"title": "Plain three", "description": "Behind the garden wall, the Ärzte wait."},
    {"title": "Plain four", "description": "gardening"},
]


@pytest.fixture
async def with_tasks(ada: Account, bob: Account) -> Account:
    """Ada with five tasks, four of which speak of a garden; Bob has one of each as well."""
    for fields in TASKS:
        await ada.make_task(**fields)
        await bob.make_task(**fields)
    return ada


async def titles(account: Account, **parameters: str) -> list[str]:
    answer = await account.get("/tasks", params=parameters)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-total-count"] == str(len(answer.json()))
    assert all(task["owner"]["id"] == account.id for task in answer.json())
    return [task["title"] for task in answer.json()]


@pytest.mark.real
@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"q": "garden"}, ["Garden report", "Plain one", "Plain two", "Plain three"]),
        ({"q": "GARDEN"}, ["Garden report", "Plain one", "Plain two", "Plain three"]),
        ({"q": "garden report"}, ["Garden report", "Plain one", "Plain two", "Plain three"]),
        ({"q": '"garden wall"'}, ["Plain three"]),
        ({"q": "garden -wall -rake"}, ["Garden report", "Plain one"]),
        ({"q": "arzte"}, ["Plain three"]),
        ({"q": "the"}, ["Plain two", "Plain three"]),
        ({"q": "garden", "sort": "title"}, ["Garden report", "Plain one", "Plain three", "Plain two"]),
        ({"q": "garden", "sort": "-priority,-title"}, ["Plain two", "Plain one", "Plain three", "Garden report"]),
        ({"q": "garden", "priority": "3"}, ["Plain one", "Plain two"]),
        ({"q": "garden", "where": '{"$or": [{"tags": "garden"}, {"title": "Garden report"}]}'}, ["Garden report", "Plain one"]),
        ({"q": "garden", "tag": "garden", "overdue": "false"}, ["Plain one"]),
        ({"q": "nowhere"}, []),
        ({"q": "-garden"}, []),
        ({"q": '"'}, []),
        ({"q": '" -"'}, []),
        ({"q": "$where"}, []),
        ({"q": " "}, []),
        ({"q": "😀" * 200}, []),
    ],
    ids=str,
)
async def test_search_by_text(with_tasks: Account, parameters: dict[str, str], expected: list[str]) -> None:
    assert await titles(with_tasks, **parameters) == expected


@pytest.mark.real
@pytest.mark.parametrize("limit", [1, 3])
@pytest.mark.parametrize("sort", [None, "title", "-due_date"])
async def test_pages_of_a_search(with_tasks: Account, sort: str | None, limit: int) -> None:
    for _ in range(3):
        await with_tasks.make_task("The garden again")  # as relevant as each other
    whole = (await with_tasks.get("/tasks", params={"q": "garden", **({"sort": sort} if sort else {})})).json()
    assert len(whole) == 7
    assert await walk(with_tasks, limit, sort, q="garden") == whole
    assert await walk(with_tasks, limit, sort, q="garden", count="exact") == whole


@pytest.mark.real
async def test_the_trash_is_not_searched(with_tasks: Account) -> None:
    for task in (await with_tasks.get("/tasks?q=garden&fields=id")).json():
        await with_tasks.delete(f"/tasks/{task['id']}")
    assert await titles(with_tasks, q="garden") == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"sort": "-priority,title", "limit": 2, "fields": "id,title"},
        {"where": {"priority": {"$gte": 2}}, "count": "exact"},
        {"count": "none"},
        {"count": "estimate", "where": {}},
        pytest.param({"q": "garden", "where": {"priority": 3}, "limit": 1}, marks=pytest.mark.real),
    ],
    ids=str,
)
async def test_a_search_answers_as_the_list_does(with_tasks: Account, body: dict[str, Any]) -> None:
    text = {"where": str(body["where"]).replace("'", '"')} if "where" in body else {}
    listed = await with_tasks.get("/tasks", params={**body, **text})
    found = await with_tasks.post("/tasks/search", json=body)
    assert (found.status_code, found.json()) == (200, listed.json())
    for name in ("etag", "x-total-count", "x-total-count-relation", "x-next-cursor", "content-type"):
        assert found.headers.get(name) == listed.headers.get(name)
    assert "link" not in found.headers
    assert "location" not in found.headers


async def test_a_cursor_serves_the_list_and_the_search(with_tasks: Account) -> None:
    body = {"where": {"title": {"$gte": "P"}}, "limit": 2, "sort": "title"}
    cursor = (await with_tasks.post("/tasks/search", json=body)).headers["x-next-cursor"]
    searched = await with_tasks.post("/tasks/search", json={**body, "cursor": cursor})
    listed = await with_tasks.get("/tasks", params={**body, "where": '{ "title": {"$gte":"P"} }', "cursor": cursor})
    assert searched.json() == listed.json()
    assert [task["title"] for task in searched.json()] == ["Plain three", "Plain two"]
    assert "x-next-cursor" not in searched.headers


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"q": ""}, ["q"]),
        ({"q": "x" * 201}, ["q"]),
        ({"q": "a\x00"}, ["q"]),
        ({"q": ["a"]}, ["q"]),
        ({"sort": ["title"]}, ["sort"]),
        ({"sort": "relevance"}, ["sort"]),
        ({"fields": ["id"]}, ["fields"]),
        ({"limit": 0}, ["limit"]),
        ({"limit": 101}, ["limit"]),
        ({"count": "some"}, ["count"]),
        ({"cursor": "AAAA"}, ["cursor"]),
        ({"where": "{}"}, ["where"]),
        ({"where": []}, ["where"]),
        ({"where": {"owner.password": 1}}, ["where.owner.password"]),
        ({"where": {"$where": "1"}}, ["where.$where"]),
        ({"where": {"$text": {"$search": "garden"}}}, ["where.$text"]),
        ({"offset": 1}, ["offset"]),
        ({"status": "todo"}, ["status"]),
    ],
    ids=str,
)
async def test_wrong_searches_are_refused_by_name(ada: Account, body: dict[str, Any], fields: list[str]) -> None:
    assert list(wrong_fields(await ada.post("/tasks/search", json=body))) == fields


@pytest.mark.parametrize("where", ["", "{", "null", "[]", "7", '"a"', "NaN", '{"a": NaN}', "[" * 1000, "9" * 1000])
async def test_a_where_that_is_no_object_is_refused(ada: Account, where: str) -> None:
    assert list(wrong_fields(await ada.get("/tasks", params={"where": where}))) == ["where"]


async def test_where_cannot_reach_the_tasks_of_others(ada: Account, bob: Account) -> None:
    task = await bob.make_task()
    for where in ({"owner.id": bob.id}, {"$or": [{"owner.id": bob.id}, {"id": task["id"]}]}, {"owner.username": {"$ne": "ada"}}):
        assert (await ada.post("/tasks/search", json={"where": where})).json() == []


async def test_counts(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        await ada.make_task(f"Task {number}")
    monkeypatch.setattr(query, "MAX_COUNTED", 3)
    monkeypatch.setattr("taskapi.tasks.query.pages.MAX_COUNTED", 3)
    for parameters, total, relation, links in [
        ("", "3", None, {"first", "next", "last"}),
        ("count=exact&", "3", None, {"first", "next", "last"}),
        ("count=none&", None, None, {"first", "next"}),
        ("count=none&offset=1&", None, None, {"first", "prev", "next"}),
        ("count=none&offset=2&", None, None, {"first", "prev"}),
        ("count=estimate&", "3", "gte", {"first", "next"}),
        ("count=estimate&offset=2&", "3", "gte", {"first", "prev"}),
        ("count=estimate&where={%22title%22:{%22$lt%22:%22Task 2%22}}&", "2", "eq", {"first", "next", "last"}),
        ("count=none&skip=7&", None, None, {"first", "prev"}),
    ]:
        answer = await ada.get(f"/tasks?{parameters}limit=1")
        assert answer.headers.get("x-total-count") == total, parameters
        assert answer.headers.get("x-total-count-relation") == relation, parameters
        assert {part.split('rel="')[1].rstrip('"') for part in answer.headers["link"].split(", ")} == links, parameters


async def test_the_entity_tag_tells_whether_there_is_more(ada: Account) -> None:
    await ada.make_task("Task 0")
    await ada.make_task("Task 1")
    alone = (await ada.get("/tasks?limit=2&count=none&sort=title")).headers["etag"]
    await ada.make_task("Task 2")
    answer = await ada.get("/tasks?limit=2&count=none&sort=title", headers={"If-None-Match": alone})
    assert answer.status_code == 200
    assert answer.headers["x-next-cursor"]


@pytest.mark.real
@pytest.mark.parametrize("where", [{"description": "nowhere"}, {"description": {"$ne": "x"}}])
async def test_a_query_that_takes_too_long_is_cut(ada: Account, where: dict[str, Any]) -> None:
    """Thousands of tasks that no index finds, and a time limit of a millisecond."""
    template = await stored_task((await ada.make_task(description="x"))["id"])
    await collection(TaskDocument).insert_many([{**template, "_id": ObjectId()} for _ in range(5000)])
    async with another(query_timeout_ms=1) as client:
        for answer in (
            await client.get("/tasks", params={"where": str(where).replace("'", '"')}, headers=ada.headers),
            await client.post("/tasks/search", json={"where": where, "sort": "title", "count": "exact"}, headers=ada.headers),
        ):
            is_problem(answer, 503, "query_timeout")
            assert int(answer.headers["retry-after"]) > 0
        one = await client.get(f"/tasks/{template['_id']}", headers=ada.headers)
        assert one.status_code == 200
    assert (await ada.post("/tasks/search", json={"where": where})).json() == []


async def test_browsers_may_read_the_new_headers(ada: Account) -> None:
    exposed = (await ada.get("/tasks", headers={"Origin": "http://localhost:3000"})).headers["access-control-expose-headers"]
    assert {"X-Next-Cursor", "X-Total-Count-Relation"} <= set(exposed.split(", "))
