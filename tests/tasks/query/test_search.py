"""The list of tasks: filters, order, pages, and invalid parameters."""

import asyncio
import itertools
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, wrong_fields
from tests.stored import collection

TODAY = datetime.now(UTC).date()
PAST, FUTURE = (TODAY - timedelta(days=10)).isoformat(), (TODAY + timedelta(days=10)).isoformat()
TASKS: list[dict[str, Any]] = [
    {"title": "one", "status": "todo", "priority": 1, "tags": ["home"], "due_date": PAST},
    {"title": "two", "status": "in_progress", "priority": 2, "tags": ["home", "work"], "due_date": FUTURE},
    {"title": "three", "status": "done", "priority": 3, "tags": ["work"], "due_date": PAST},
    {"title": "four", "status": "todo", "priority": 3, "tags": []},
    {"title": "five", "status": "done", "priority": 3, "tags": ["a&b=c"]},
]


async def titles(account: Account, query: str) -> list[str]:
    answer = await account.get(f"/tasks?{query}")
    assert answer.status_code == 200, answer.text
    found = [task["title"] for task in answer.json()]
    assert answer.headers["x-total-count"] == str(len(found))
    return found


@pytest.fixture
async def with_tasks(ada: Account, bob: Account) -> Account:
    """Ada with five tasks; Bob has one that matches every filter."""
    for fields in TASKS:
        await ada.make_task(**fields)
    await bob.make_task(**TASKS[0])
    return ada


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["five", "four", "three", "two", "one"]),
        ("status=todo", ["four", "one"]),
        ("status=in_progress", ["two"]),
        ("completed=true", ["five", "three"]),
        ("completed=false", ["four", "two", "one"]),
        ("completed=true&status=todo", []),
        ("priority=3", ["five", "four", "three"]),
        ("tag=work", ["three", "two"]),
        ("tag=%20HOME", ["two", "one"]),
        ("tag=a%26b%3Dc", ["five"]),
        ("tag=$ne", []),
        (f"due_before={FUTURE}", ["three", "one"]),
        (f"due_before={PAST}", []),
        (f"due_after={PAST}", ["two"]),
        (f"due_after={PAST}&due_before={FUTURE}", []),
        ("overdue=true", ["one"]),
        ("overdue=false", ["five", "four", "three", "two"]),
        ("overdue=true&completed=true", []),
        ("sort=title", ["five", "four", "one", "three", "two"]),
        ("sort=-priority,due_date", ["three", "four", "five", "two", "one"]),
        ("sort=due_date", ["one", "three", "two", "four", "five"]),
        ("sort=-due_date", ["two", "three", "one", "five", "four"]),
        ("sort=priority,-title", ["one", "two", "three", "four", "five"]),
        ("sort=created_at", ["one", "two", "three", "four", "five"]),
        ("priority=3&tag=work&completed=true", ["three"]),
    ],
)
async def test_filters_and_orders(with_tasks: Account, query: str, expected: list[str]) -> None:
    assert await titles(with_tasks, query) == expected


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("limit=0", ["limit"]),
        ("limit=101", ["limit"]),
        ("limit=ten", ["limit"]),
        ("offset=-1", ["offset"]),
        ("skip=-1", ["skip"]),
        ("offset=99999999999999999999", ["offset"]),
        ("offset=1&skip=1", [""]),
        ("status=doing", ["status"]),
        ("status=", ["status"]),
        ("completed=yes", ["completed"]),
        ("overdue=1", ["overdue"]),
        ("priority=9", ["priority"]),
        ("tag=", ["tag"]),
        ("tag=%00", ["tag"]),
        ("due_before=tomorrow", ["due_before"]),
        ("due_after=0", ["due_after"]),
        ("sort=", ["sort"]),
        ("sort=owner.id", ["sort"]),
        ("sort=--title", ["sort"]),
        ("sort=title,", ["sort"]),
        ("sort=title,-title", ["sort"]),
        ("sort=title%0A", ["sort"]),
        ("sort=status", ["sort"]),
        ("colour=red", ["colour"]),
        ("owner.id=65f1a2b3c4d5e6f708192a3b", ["owner.id"]),
        ("status[$ne]=todo", ["status[$ne]"]),
        ("status=todo&status=done", ["status"]),
        ("limit=1&limit=1&tag=a&tag=b", ["limit", "tag"]),
    ],
)
async def test_wrong_parameters_are_refused_by_name(ada: Account, query: str, fields: list[str]) -> None:
    assert list(wrong_fields(await ada.get(f"/tasks?{query}"))) == fields


def links(header: str) -> dict[str, str]:
    return {relation: target for target, relation in re.findall(r'<([^>]*)>; rel="([a-z]+)"', header)}


async def test_numbered_pages_cover_everything_once_with_links(ada: Account) -> None:
    made = [(await ada.make_task(f"Task {n}", tags=["a b"]))["id"] for n in range(7)]
    same = datetime(2026, 1, 1, tzinfo=UTC)
    await collection(TaskDocument).update_many({}, {"$set": {"created_at": same}})  # only the id tells them apart
    seen: list[str] = []
    path = "/tasks?limit=3&tag=a+b&completed=false&sort=-created_at&offset=0"
    for page in itertools.count():
        answer = await ada.get(path)
        seen += [task["id"] for task in answer.json()]
        found = links(answer.headers["link"])
        assert answer.headers["x-total-count"] == "7"
        assert ("prev" in found) == (page > 0)
        for relation, offset in (("first", 0), ("last", 6)):
            assert found[relation] == f"/tasks?completed=false&tag=a+b&sort=-created_at&limit=3&offset={offset}"
        if "next" not in found:
            break
        path = found["next"]
    assert seen == made[::-1]
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("name", ["offset", "skip"])
async def test_offset_and_its_synonym(ada: Account, name: str) -> None:
    for n in range(3):
        await ada.make_task(f"Task {n}")
    answer = await ada.get(f"/tasks?{name}=2")
    assert [task["title"] for task in answer.json()] == ["Task 0"]
    beyond = await ada.get(f"/tasks?{name}=50&limit=2")
    assert (beyond.json(), beyond.headers["x-total-count"]) == ([], "3")
    assert set(links(beyond.headers["link"])) == {"first", "prev", "last"}


async def test_links_from_an_unaligned_offset_stay_in_range(ada: Account) -> None:
    for n in range(7):
        await ada.make_task(f"Task {n}")
    for start, expected in ((1, (0, 4, 4)), (5, (2, None, 5)), (50, (6, None, 6))):
        found = links((await ada.get(f"/tasks?limit=3&offset={start}")).headers["link"])
        offsets = [int(found[name].rpartition("=")[2]) if name in found else None for name in ("prev", "next", "last")]
        assert tuple(offsets) == expected


@pytest.mark.real
async def test_listing_during_deletions_succeeds(ada: Account) -> None:
    for _ in range(10):
        paths = [f"/tasks/{(await ada.make_task())['id']}" for _ in range(2)]
        answers = await asyncio.gather(*(ada.get("/tasks") for _ in range(8)), *(ada.delete(path) for path in paths))
        assert {answer.status_code for answer in answers} == {200, 204}


async def test_an_empty_list_is_an_array_with_links(ada: Account) -> None:
    answer = await ada.get("/tasks")
    assert (answer.json(), answer.headers["x-total-count"]) == ([], "0")
    assert set(links(answer.headers["link"])) == {"first", "last"}
