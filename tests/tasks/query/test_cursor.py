"""Cursors: pages neither skip nor repeat tasks that do not change, and cursors cannot be forged."""

import asyncio
import base64
import random
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskapi.tasks.fields import SORTABLE
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, stored_task, wrong_fields
from tests.stored import collection

SORTS = [None, *(f"{sign}{name}" for name in SORTABLE for sign in ("", "-")), "-priority,due_date", "due_date,-title,priority"]


def links(header: str) -> dict[str, str]:
    return {relation: target for target, relation in re.findall(r'<([^>]*)>; rel="([a-z]+)"', header)}


async def walk(account: Account, limit: int, sort: str | None = None, **parameters: str) -> list[dict[str, Any]]:
    """All tasks, page by page along ``X-Next-Cursor``."""
    given = {**parameters, "limit": str(limit), **({"sort": sort} if sort else {})}
    found: list[dict[str, Any]] = []
    while True:
        answer = await account.get("/tasks", params=given)
        assert answer.status_code == 200, answer.text
        found += answer.json()
        if "x-next-cursor" not in answer.headers:
            return found
        assert len(answer.json()) == limit
        given["cursor"] = answer.headers["x-next-cursor"]


@pytest.fixture
async def crowded(ada: Account) -> Account:
    """Ada with tasks, many of which have equal sort fields; a third has no due date."""
    for number in range(12):
        due = None if number % 3 == 0 else f"2026-01-0{1 + number % 2}"
        await ada.make_task(f"Same {number % 2}", priority=1 + number % 2, due_date=due)
    instant = datetime(2026, 1, 1, tzinfo=UTC)
    await collection(TaskDocument).update_many({}, {"$set": {"created_at": instant, "updated_at": instant}})
    return ada


@pytest.mark.parametrize("limit", [1, 5, 12])
@pytest.mark.parametrize("sort", SORTS, ids=str)
async def test_pages_are_the_list_in_each_order(crowded: Account, sort: str | None, limit: int) -> None:
    whole = (await crowded.get("/tasks", params={"sort": sort} if sort else {})).json()
    assert await walk(crowded, limit, sort) == whole
    assert len({task["id"] for task in whole}) == 12


@pytest.mark.parametrize("sort", ["due_date", "-due_date", "-priority,due_date"])
async def test_tasks_without_the_field_come_where_null_does(crowded: Account, sort: str) -> None:
    whole = await walk(crowded, 2, sort, fields="id")
    await collection(TaskDocument).update_many({"due_date": None, "title": "Same 0"}, {"$unset": {"due_date": ""}})
    assert await walk(crowded, 2, sort, fields="id") == whole


async def test_filters_hold_on_every_page(crowded: Account) -> None:
    found = await walk(crowded, 2, "-due_date", priority="2", where='{"due_date": {"$ne": null}}', count="exact")
    assert len(found) == 4
    assert {task["priority"] for task in found} == {2}


async def test_links_of_cursor_pages(ada: Account) -> None:
    for number in range(5):
        await ada.make_task(f"Task {number}", tags=["a b"])
    first = await ada.get("/tasks?limit=2&tag=a+b&where={}&fields=id,title")
    found = links(first.headers["link"])
    rest = "/tasks?where=%7B%7D&tag=a+b&fields=id%2Ctitle&limit=2"
    assert found == {
        "first": f"{rest}&offset=0",
        "next": f"{rest}&cursor={first.headers['x-next-cursor']}",
        "last": f"{rest}&offset=4",
    }
    assert first.headers["x-total-count"] == "5"
    second = await ada.get(found["next"])
    assert set(links(second.headers["link"])) == {"first", "next"}
    assert "x-total-count" not in second.headers
    third = await ada.get(links(second.headers["link"])["next"])
    assert set(links(third.headers["link"])) == {"first"}
    assert "x-next-cursor" not in third.headers
    titles = [task["title"] for answer in (first, second, third) for task in answer.json()]
    assert titles == [f"Task {number}" for number in (4, 3, 2, 1, 0)]


async def test_long_url_links_to_next_page_only(ada: Account) -> None:
    for number in range(3):
        await ada.make_task(f"Task {number}")
    long = '{"title": {"$in": [' + ", ".join(f'"Task {number}"' for number in range(90)) + "]}}"
    answer = await ada.get("/tasks", params={"where": long, "limit": "2"})
    assert set(links(answer.headers["link"])) == {"next"}
    assert [task["title"] for task in (await ada.get(links(answer.headers["link"])["next"])).json()] == ["Task 0"]


async def test_limit_fields_and_count_may_change_between_pages(ada: Account) -> None:
    for number in range(4):
        await ada.make_task(f"Task {number}")
    cursor = (await ada.get("/tasks?limit=1&fields=id")).headers["x-next-cursor"]
    answer = await ada.get(f"/tasks?limit=2&fields=title&count=exact&sort=-created_at&cursor={cursor}")
    assert answer.json() == [{"title": "Task 2"}, {"title": "Task 1"}]
    assert answer.headers["x-total-count"] == "4"


async def test_cursor_belongs_to_one_query_and_owner(ada: Account, bob: Account) -> None:
    for account in (ada, bob):
        for number in range(3):
            await account.make_task(f"Task {number}", tags=["t"])
    cursor = (await ada.get("/tasks?limit=1&tag=t")).headers["x-next-cursor"]
    assert (await ada.get(f"/tasks?tag=t&cursor={cursor}")).status_code == 200
    for query in ("", "tag=u&", "tag=t&sort=created_at&", "tag=t&status=todo&", 'tag=t&where={"priority":1}&'):
        assert wrong_fields(await ada.get(f"/tasks?{query}cursor={cursor}")) == {"cursor": "wrong_cursor"}
    assert wrong_fields(await bob.get(f"/tasks?tag=t&cursor={cursor}")) == {"cursor": "wrong_cursor"}


async def test_an_altered_cursor_is_refused(ada: Account) -> None:
    for number in range(2):
        await ada.make_task(f"Task {number}")
    cursor = (await ada.get("/tasks?limit=1")).headers["x-next-cursor"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    altered = [
        cursor[:place] + alphabet[alphabet.index(letter) ^ bit] + cursor[place + 1 :]
        for place, letter in enumerate(cursor)
        for bit in (1, 32)
    ]
    unsigned = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[16:]
    forged = base64.urlsafe_b64encode(bytes(16) + unsigned).rstrip(b"=").decode()
    for wrong in [*altered, forged, cursor[:-1], cursor + "A", "A", "AAAA", "-" * 2000]:
        assert wrong_fields(await ada.get(f"/tasks?cursor={wrong}")) == {"cursor": "wrong_cursor"}, wrong
    for wrong in ("", "%00", "a=b", "é", "A" * 2001, cursor + "%3D"):
        assert list(wrong_fields(await ada.get(f"/tasks?cursor={wrong}"))) == ["cursor"], wrong


@pytest.mark.parametrize("name", ["offset", "skip"])
async def test_a_cursor_and_an_offset_exclude_each_other(ada: Account, name: str) -> None:
    for number in range(2):
        await ada.make_task(f"Task {number}")
    cursor = (await ada.get("/tasks?limit=1")).headers["x-next-cursor"]
    assert wrong_fields(await ada.get(f"/tasks?cursor={cursor}&{name}=0")) == {"cursor": "two_starts"}


@pytest.mark.real
@pytest.mark.parametrize("sort", SORTS, ids=str)
async def test_nothing_is_skipped_or_repeated_while_others_write(ada: Account, sort: str | None) -> None:
    """Some tasks stay as they are, while others are created, changed and deleted around them."""
    chance = random.Random(7)
    template = await stored_task((await ada.make_task())["id"])
    ids = [template["_id"].__class__() for _ in range(60)]
    day = datetime(2026, 1, 1, tzinfo=UTC)

    def document(task_id: Any) -> dict[str, Any]:
        instant = day + timedelta(milliseconds=chance.randrange(5))
        return {
            **template,
            "_id": task_id,
            "title": f"Task {chance.randrange(4)}",
            "priority": chance.randrange(1, 6),
            "due_date": chance.choice([None, day, day + timedelta(days=1)]),
            "created_at": instant,
            "updated_at": instant,
        }

    await collection(TaskDocument).insert_many([document(task_id) for task_id in ids])
    staying, going = {str(task_id) for task_id in ids[::2]}, [str(task_id) for task_id in ids[1::2]]
    reading = True

    async def write() -> None:
        for _ in range(500):  # in some orders new tasks come last, and a reader might never overtake their writers
            if not reading:
                return
            kind = chance.randrange(3)
            if kind == 0:
                await collection(TaskDocument).insert_one(document(template["_id"].__class__()))
            elif kind == 1 or not going:
                await ada.make_task(f"Task {chance.randrange(4)}", priority=chance.randrange(1, 6))
            else:
                path = f"/tasks/{going.pop()}"
                change = {"title": f"Task {chance.randrange(4)}", "priority": chance.randrange(1, 6), "due_date": None}
                await (ada.delete(path) if chance.randrange(2) else ada.patch(path, json=change))

    writers = [asyncio.create_task(write()) for _ in range(3)]
    try:
        walks = await asyncio.gather(*(walk(ada, limit, sort, fields="id") for limit in (3, 7, 20)))
    finally:
        reading = False
        await asyncio.gather(*writers)
    for found in walks:
        seen = [task["id"] for task in found if task["id"] in staying]
        assert len(seen) == len(staying)
        assert set(seen) == staying
