"""Lists that were short when they were last counted, and are no longer: others must not wait while they are counted."""

import asyncio

import pytest
from bson import ObjectId

from taskapi.db.connection import Database
from taskapi.db.raw import Raw, decode
from taskapi.tasks.query.page_loader import MAX_TOTAL, QUERIES, PageLoader
from taskapi.tasks.query.search import Count, TaskQuery
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.list_repository import TaskListRepository
from taskapi.tasks.storage.scope import Scope
from tests.client import Account, take_task
from tests.stored import collection, service
from tests.tasks.storage.test_shared_round_trips import Counted

SECONDS = 5000  # milliseconds of a query
FIELDS = {"title": 1}


async def grow(account: Account, number: int) -> None:
    """Has the account own so many tasks in all."""
    task = await take_task(account, tags=["a"])
    await collection(TaskDocument).insert_many([{**task, "_id": ObjectId()} for _ in range(number)])


async def find(lists: PageLoader, account: Account, **query: object) -> list[Raw] | None:
    scope, wanted = Scope.of_id(ObjectId(account.id)), TaskQuery.model_validate(query)
    return await lists.find(account.id.encode(), wanted.plan(scope, FIELDS), SECONDS)


def total(found: list[Raw] | None) -> int:
    assert found is not None
    return int(decode(found[-1])["total"])


@pytest.mark.real
@pytest.mark.parametrize("query", [{}, {"tag": "a"}, {"tag": "a", "count": Count.estimate}], ids=str)
async def test_list_that_has_grown_shares_no_query(ada: Account, query: dict[str, object]) -> None:
    lists = PageLoader(TaskListRepository(service(Database)))
    lists.note(ada.id.encode(), 0)
    await grow(ada, MAX_TOTAL)
    assert total(await find(lists, ada, **query)) == MAX_TOTAL
    await grow(ada, 1)
    assert await find(lists, ada, **query) is None


@pytest.mark.parametrize("query", [{}, {"tag": "a"}], ids=str)
async def test_others_share_without_the_long_list(ada: Account, bob: Account, query: dict[str, object]) -> None:
    tasks = Counted(service(Database))
    lists = PageLoader(tasks)
    for account in (ada, bob):
        lists.note(account.id.encode(), 0)
    await bob.make_task("Short", tags=["a"])
    await grow(ada, 2 * MAX_TOTAL)
    long, short = await asyncio.gather(find(lists, ada, **query), find(lists, bob, tag="a"))
    assert long is None
    assert total(short) == 1
    assert tasks.queries == 1


async def test_total_that_was_not_reached_is_not_told(ada: Account, bob: Account) -> None:
    """Totals of several owners are counted as one, in their order: the first may have more tasks than are counted of all."""
    lists = PageLoader(TaskListRepository(service(Database)))
    for account in (ada, bob):
        lists.note(account.id.encode(), 0)
    await bob.make_task("Short")
    await grow(ada, 2 * MAX_TOTAL + 1)
    assert [*await asyncio.gather(find(lists, ada), find(lists, bob))] == [None, None]
    assert total(await find(lists, bob)) == 1


async def test_grown_list_is_counted_to_the_end(ada: Account) -> None:
    assert (await ada.get("/tasks")).headers["x-total-count"] == "0"
    await grow(ada, MAX_TOTAL + 5)
    assert (await ada.get("/tasks")).headers["x-total-count"] == str(MAX_TOTAL + 5)
    assert (await ada.get("/tasks")).headers["x-total-count"] == str(MAX_TOTAL + 5)


async def test_list_known_to_have_grown_is_asked_once(ada: Account) -> None:
    tasks = Counted(service(Database))
    lists = PageLoader(tasks)
    lists.note(ada.id.encode(), 0)
    await grow(ada, MAX_TOTAL + 1)
    found = await asyncio.gather(*(find(lists, ada, tag="a", limit=1 + n % 20, offset=n // 20) for n in range(200)))
    assert found == [None] * 200
    assert tasks.queries <= QUERIES
