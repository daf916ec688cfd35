"""The queries of filters: an account with many of them does not keep others from the database."""

import asyncio
from collections import Counter
from collections.abc import Collection

import bson
import pytest
from bson import ObjectId
from bson.raw_bson import RawBSONDocument

from taskapi.core.clock import utc_now
from taskapi.db.connection import Database
from taskapi.events.filters import MAX_QUERIES, MAX_QUERIES_OF_ACCOUNT, FilterQueries
from taskapi.tasks.services.changes import Change, ChangeKind, TaskChanges
from taskapi.tasks.storage.change_repository import ChangeRepository
from taskapi.tasks.storage.scope import Scope
from tests.client import Account
from tests.stored import service

pytestmark = pytest.mark.real
ALL = RawBSONDocument(bson.encode({}))


class Counted(ChangeRepository):
    """Counts the queries that run at once."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.running, self.order = Counter[ObjectId](), list[ObjectId]()
        self.most = self.most_of_account = 0

    async def find_matching(
        self, scope: Scope, condition: RawBSONDocument, ids: Collection[ObjectId], time: bson.Timestamp
    ) -> set[ObjectId]:
        owner_id = scope.owner_id
        self.order.append(owner_id)
        self.running[owner_id] += 1
        self.most = max(self.most, self.running.total())
        self.most_of_account = max(self.most_of_account, self.running[owner_id])
        try:
            return await super().find_matching(scope, condition, ids, time)
        finally:
            self.running[owner_id] -= 1


async def change_of(changes: TaskChanges, account: Account) -> Change:
    task = await account.make_task()
    return Change(ChangeKind.created, ObjectId(task["id"]), utc_now(), 1, (), await changes.now(), "")


async def test_filters_of_one_account_take_turns(ada: Account, bob: Account) -> None:
    tasks = Counted(service(Database))
    changes = TaskChanges(tasks)
    queries, mine, theirs = FilterQueries(changes), ObjectId(ada.id), ObjectId(bob.id)
    own, other = await change_of(changes, ada), await change_of(changes, bob)
    many = [asyncio.create_task(queries.matching([own], mine, ALL)) for _ in range(100)]
    await asyncio.sleep(0)
    assert await queries.matching([other], theirs, ALL) == {other.task_id}
    assert tasks.order.index(theirs) <= MAX_QUERIES_OF_ACCOUNT  # behind those alone that were under way
    assert await asyncio.gather(*many) == [{own.task_id}] * 100
    assert tasks.most_of_account == MAX_QUERIES_OF_ACCOUNT
    assert tasks.most <= MAX_QUERIES


async def test_filter_finds_tasks_of_its_account_alone(ada: Account, bob: Account) -> None:
    changes = service(TaskChanges)
    own, other = await change_of(changes, ada), await change_of(changes, bob)
    assert await changes.matching([own, other], ObjectId(ada.id), ALL) == {own.task_id}
    none = RawBSONDocument(bson.encode({"title": "Another"}))
    assert await changes.matching([own, other], ObjectId(ada.id), none) == set()
