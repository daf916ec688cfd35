"""Each page of delta sync reads an index of its owner's tasks, in its order, and no more tasks than it returns."""

from collections.abc import Sequence

import httpx
import pytest
from bson import ObjectId, Timestamp
from bson.raw_bson import RawBSONDocument

from taskapi.core.clock import utc_now
from taskapi.db.connection import BSON, Database
from taskapi.tasks.query.changed import Place
from taskapi.tasks.services.changed_tasks import ChangedTasks
from taskapi.tasks.services.changes import TaskChanges
from taskapi.tasks.storage.change_repository import ChangeRepository
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.indexes import ALL_OF_OWNER, CHANGED_OF_OWNER
from tests.client import make_account
from tests.plans import explain, found_in, stages
from tests.stored import collection, service

pytestmark = pytest.mark.real

TASKS = 300  # of each of three owners
LIMIT = 20


class Recorder(ChangeRepository):
    """Notes the pipelines that it runs, with their hints."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.ran: list[tuple[list[BSON], str]] = []

    async def aggregate_after(
        self, pipeline: Sequence[BSON], time: Timestamp, milliseconds: int, hint: str
    ) -> list[RawBSONDocument]:
        self.ran.append((list(pipeline), hint))
        return await super().aggregate_after(pipeline, time, milliseconds, hint)


@pytest.fixture(scope="module")
async def owner_id(shared: httpx.AsyncClient) -> ObjectId:
    """Ada among other owners: half of the tasks of each have changed at the same time, the others before."""
    accounts = [await make_account(shared, name) for name in ("ada", "bob", "eve")]
    for account in accounts:
        made = await account.make_task("A task")
        template = await collection(TaskDocument).find_one({"_id": ObjectId(made["id"])})
        assert template is not None
        old = {**template, "changed_at": utc_now().replace(year=2020)}
        copies = [{**(old if number % 2 else template), "_id": ObjectId()} for number in range(TASKS - 1)]
        await collection(TaskDocument).insert_many(copies)
    return ObjectId(accounts[0].id)


@pytest.mark.parametrize("is_first", [True, False], ids=["first run", "later run"])
async def test_each_page_reads_what_it_returns(owner_id: ObjectId, is_first: bool) -> None:
    recorder = Recorder(service(Database))
    tasks, time = ChangedTasks(recorder, 5000), await service(TaskChanges).now()
    low = int((utc_now().timestamp() - 300) * 1000)
    after: Place | None = None
    found = 0
    while True:
        if is_first:
            page = await tasks.find_first(owner_id, after, LIMIT, time)
        else:
            page = await tasks.find_changed(owner_id, low, after, LIMIT, time)
        found += len(page.changes)
        if not page.has_more:
            break
        after = page.changes[-1].place
    assert found == (TASKS if is_first else TASKS // 2 + 1)
    assert {hint for _, hint in recorder.ran} == {ALL_OF_OWNER if is_first else CHANGED_OF_OWNER}
    for pipeline, hint in recorder.ran:
        explained = await explain(TaskDocument, pipeline, hint=hint)
        is_of_undated = "$or" in pipeline[0]["$match"]
        assert not stages(explained) & ({"COLLSCAN"} if is_of_undated else {"COLLSCAN", "SORT"})
        assert sum(found_in(explained, "totalDocsExamined")) <= (0 if is_of_undated else 2 * (LIMIT + 1))
        assert set(found_in(explained, "indexName")) <= {hint}


async def test_run_without_changes_reads_nothing(owner_id: ObjectId) -> None:
    recorder = Recorder(service(Database))
    later = int((utc_now().timestamp() + 300) * 1000)
    page = await ChangedTasks(recorder, 5000).find_changed(owner_id, later, None, LIMIT, await service(TaskChanges).now())
    assert page.changes == []
    ((pipeline, hint),) = recorder.ran
    explained = await explain(TaskDocument, pipeline, hint=hint)
    assert sum(found_in(explained, "totalDocsExamined")) == 0
    assert sum(found_in(explained, "totalKeysExamined")) <= 1
