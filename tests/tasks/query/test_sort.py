"""The order of lists and exports: the same for any page size, by cursor, by offset and in one piece."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from bson import ObjectId
from fastapi import FastAPI

from taskapi.tasks.fields import SORTABLE
from taskapi.tasks.query.cursor import CursorSigner, write_cursor
from taskapi.tasks.query.sort import parse_sort
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, make_account, wrong_fields
from tests.stored import collection

pytestmark = pytest.mark.real

DAY = datetime(2026, 1, 1, tzinfo=UTC)
SORTS = [
    *(f"{sign}{name}" for name in SORTABLE for sign in ("", "-")),
    "-priority,due_date",
    "priority,due_date",
    "priority,-due_date",
    "due_date,-title,priority",
    "title,due_date",
    "-title,due_date,updated_at",
    "-due_date,priority",
    "created_at,priority,due_date,title",
]
FILTERS: list[dict[str, str]] = [
    {},
    {"priority": "2"},
    {"due_after": "2026-01-02"},
    {"where": '{"due_date": null}'},
    {"where": '{"$or": [{"due_date": {"$lt": "2026-01-03"}}, {"tags": "b"}]}'},
    {"q": "red"},
    {"tag": "a", "overdue": "false"},
]


def number_of(title: str) -> tuple[str, int]:
    word, number = title.split()
    return word, int(number)


def people_sort(tasks: list[dict[str, Any]], sort: str) -> list[str]:
    """The ids of all tasks, the least significant field first: each sort is stable."""
    parts = sort.split(",")
    found = sorted(tasks, key=lambda task: task["id"], reverse=parts[-1].startswith("-"))
    for part in reversed(parts):
        name, descending = part.removeprefix("-"), part.startswith("-")
        if name == "title":
            found.sort(key=lambda task: number_of(task["title"]), reverse=descending)
        elif name == "due_date":
            dated = [task for task in found if task["due_date"] is not None]
            undated = [task for task in found if task["due_date"] is None]
            found = [*sorted(dated, key=lambda task: str(task["due_date"]), reverse=descending), *undated]
        else:
            found.sort(key=lambda task: (task[name] is not None, task[name] or 0), reverse=descending)
    return [task["id"] for task in found]


@pytest.fixture(scope="module")
async def ada(shared: httpx.AsyncClient) -> Account:
    """Ada with tasks of few values each, so that many are equal; some lack a due date."""
    account = await make_account(shared, "ada")
    await account.make_task()
    template = await collection(TaskDocument).find_one_and_delete({"owner.username": "ada"})
    chance = random.Random(5)
    copies = []
    for _ in range(36):
        moment = DAY + timedelta(milliseconds=chance.randrange(5))
        copies.append(
            {
                **template,
                "_id": ObjectId(),
                "title": f"{chance.choice(['blue', 'red'])} {chance.choice([2, 10, 33, 100])}",
                "priority": chance.randrange(1, 4),
                "tags": [chance.choice(["a", "b"])],
                "due_date": chance.choice([None, None, *(DAY + timedelta(days=n) for n in range(4))]),
                "created_at": moment,
                "updated_at": moment + timedelta(milliseconds=chance.randrange(3)),
            }
        )
    chance.shuffle(copies)
    await collection(TaskDocument).insert_many(copies)
    return account


async def listed(account: Account, **parameters: str) -> list[dict[str, Any]]:
    answer = await account.get("/tasks", params=parameters)
    assert answer.status_code == 200, answer.text
    return list(answer.json())


async def by_cursor(account: Account, limit: int, **parameters: str) -> list[str]:
    given, found = {**parameters, "limit": str(limit)}, list[str]()
    while True:
        answer = await account.get("/tasks", params=given)
        assert answer.status_code == 200, answer.text
        found += [task["id"] for task in answer.json()]
        if "x-next-cursor" not in answer.headers:
            return found
        given["cursor"] = answer.headers["x-next-cursor"]


async def by_offset(account: Account, limit: int, **parameters: str) -> list[str]:
    found: list[str] = []
    while page := await listed(account, **parameters, limit=str(limit), offset=str(len(found))):
        found += [task["id"] for task in page]
    return found


async def exported(account: Account, **parameters: str) -> list[str]:
    answer = await account.get("/tasks/export", params={**parameters, "format": "jsonl"})
    assert answer.status_code == 200, answer.text
    return [str(line).split('"')[3] for line in answer.text.splitlines()]


@pytest.mark.parametrize("sort", SORTS)
async def test_every_list_uses_the_natural_language_order(ada: Account, sort: str) -> None:
    for parameters in FILTERS:
        everything = await listed(ada, **parameters, limit="100")
        expected = people_sort(everything, sort)
        given = {**parameters, "sort": sort}
        assert [task["id"] for task in await listed(ada, **given, fields="id", limit="100")] == expected, given
        for limit in (5,) if parameters else (2, 11):
            assert await by_cursor(ada, limit, **given, fields="id") == expected, (given, limit)
            assert await by_offset(ada, limit + 4, **given, fields="id") == expected, (given, limit)
        assert await exported(ada, **given) == expected, given
        for count in ("exact", "estimate"):
            answer = await ada.get("/tasks", params={**given, "count": count, "limit": "3"})
            assert answer.headers["x-total-count"] == str(len(expected))


@pytest.mark.parametrize("sort", ["due_date", "-due_date"])
async def test_tasks_without_a_due_date_come_last(ada: Account, sort: str) -> None:
    days = [task["due_date"] for task in await listed(ada, sort=sort, limit="100", fields="due_date")]
    dated = [day for day in days if day is not None]
    assert days == [*sorted(dated, reverse=sort.startswith("-")), *[None] * (len(days) - len(dated))]
    assert 0 < len(dated) < len(days)


TITLES = [
    "Äpfel", "apple", "Apple", "APPLE", "Ärger", "Bär", "banana", "eclair", "éclair", "e\u0301clair", "Task 01", "task 2",
    "Task 02", "Task 2", "task 9", "Task 10", "Zebra", "zero\u200bwidth", "zerowidth", "日本語",
]  # fmt: skip


@pytest.fixture(scope="module")
async def with_titles(shared: httpx.AsyncClient) -> Account:
    account = await make_account(shared, "bob")
    await account.make_task()
    template = await collection(TaskDocument).find_one_and_delete({"owner.username": "bob"})
    titles = random.Random(3).sample(TITLES, len(TITLES))
    await collection(TaskDocument).insert_many([{**template, "_id": ObjectId(), "title": title} for title in titles])
    return account


async def test_titles_sort_as_people_do(with_titles: Account) -> None:
    found = [task["title"] for task in await listed(with_titles, sort="title", fields="title")]
    assert [title for title in found if "clair" not in title] == [
        "Äpfel", "apple", "Apple", "APPLE", "Ärger", "banana", "Bär", "Task 01", "task 2", "Task 02", "Task 2", "task 9",
        "Task 10", "Zebra", "zerowidth", "zero\u200bwidth", "日本語",
    ]  # fmt: skip
    backward = [task["title"] for task in await listed(with_titles, sort="-title", fields="title")]
    assert backward == found[::-1]


@pytest.mark.parametrize(
    ("where", "sorted_by_title", "otherwise"),
    [
        ('{"title": "Task 02"}', ["Task 02"], ["Task 02"]),
        ('{"title": "apple"}', ["apple"], ["apple"]),
        ('{"title": {"$in": ["zerowidth", "Task 2"]}}', ["zerowidth", "Task 2"], ["zerowidth", "Task 2"]),
        ('{"title": "\u00e9clair"}', ["éclair", "e\u0301clair"], ["éclair", "e\u0301clair"]),
        ('{"title": {"$gt": "Task 2", "$lt": "Zebra"}}', ["task 9", "Task 10"], []),
        ('{"title": {"$gte": "apple", "$lt": "b"}}', ["apple", "Apple", "APPLE", "Ärger"], ["apple"]),
    ],
    ids=str,
)
async def test_filters_compare_exactly_and_order_by_collation(
    with_titles: Account, where: str, sorted_by_title: list[str], otherwise: list[str]
) -> None:
    """Both the page and its total."""
    for sort, expected in (("title", sorted_by_title), ("created_at", otherwise)):
        answer = await with_titles.get("/tasks", params={"where": where, "sort": sort})
        assert {task["title"] for task in answer.json()} == set(expected), sort
        assert answer.headers["x-total-count"] == str(len(expected))


async def test_cursor_of_a_changed_order_is_refused(ada: Account, app: FastAPI) -> None:
    """Version 1.2 put tasks without a due date first, and sorted titles by code point."""
    for sort in ("due_date", "title"):
        context = f"{ada.id} {parse_sort(sort)} {{}}".encode()
        cursor = write_cursor([None, ObjectId()], context, app.state.services[CursorSigner])
        assert wrong_fields(await ada.get(f"/tasks?sort={sort}&cursor={cursor}")) == {"cursor": "wrong_cursor"}
    context = f"{ada.id} {parse_sort('-due_date')} {{}}".encode()
    cursor = write_cursor([DAY, ObjectId()], context, app.state.services[CursorSigner])
    assert (await ada.get(f"/tasks?sort=-due_date&cursor={cursor}")).status_code == 200
