"""Each statistic reads an index of its owner's tasks, and no documents of others."""

import json
from collections.abc import Sequence

import httpx
import pytest
from bson import ObjectId
from pymongo.collation import Collation

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.settings import Settings
from taskapi.db.connection import BSON, Database
from taskapi.db.raw import Raw
from taskapi.stats.query import BurndownQuery, PeriodQuery, RangeQuery, StatsQuery, TagsQuery
from taskapi.stats.service import StatsService
from taskapi.tasks.services.aggregation import TaskAggregation
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.list_repository import TaskListRepository
from tests.client import make_account, stored_user
from tests.plans import explain, found_in, stages
from tests.stored import collection, service

pytestmark = pytest.mark.real

TASKS = 300  # of each of three owners
FILTERS: Sequence[dict[str, str]] = (
    {},
    {"status": "todo"},
    {"tag": "a"},
    {"overdue": "true"},
    {"priority": "3", "estimate_min": "5"},
    {"where": json.dumps({"metadata.project": "P1"})},
    {"where": json.dumps({"description": {"$ne": ""}})},
    {"q": "task"},
)


class Recorder(TaskListRepository):
    """Notes the pipelines that it runs, with their hints."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.ran: list[tuple[list[BSON], str | None]] = []

    async def aggregate(
        self, pipeline: Sequence[BSON], milliseconds: int, collation: Collation | None = None, hint: str | None = None
    ) -> list[Raw]:
        self.ran.append((list(pipeline), hint))
        return await super().aggregate(pipeline, milliseconds, collation, hint)


@pytest.fixture(scope="module")
async def owner(shared: httpx.AsyncClient) -> UserRead:
    """Ada among other owners."""
    ada, bob, eve = [await make_account(shared, name) for name in ("ada", "bob", "eve")]
    for account in (ada, bob, eve):
        made = await account.make_task("A task", tags=["a"], status="done", metadata={"project": "P1"})
        template = await collection(TaskDocument).find_one({"_id": ObjectId(made["id"])})
        assert template is not None
        await collection(TaskDocument).insert_many([{**template, "_id": ObjectId()} for _ in range(TASKS - 1)])
    return UserRead.model_validate(await stored_user(ada.id))


@pytest.mark.parametrize("filters", FILTERS, ids=str)
async def test_each_statistic_uses_an_index(owner: UserRead, filters: dict[str, str]) -> None:
    recorder = Recorder(service(Database))
    stats = StatsService(TaskAggregation(recorder, service(Settings).query_timeout_ms))
    await stats.summary(owner, StatsQuery.model_validate(filters))
    await stats.throughput(owner, PeriodQuery.model_validate(filters))
    await stats.burndown(owner, BurndownQuery.model_validate(filters))
    await stats.flow(owner, PeriodQuery.model_validate(filters))
    await stats.lead_times(owner, RangeQuery.model_validate(filters))
    await stats.tags(owner, TagsQuery.model_validate(filters))
    assert len(recorder.ran) == 8
    for pipeline, hint in recorder.ran:
        explained = await explain(TaskDocument, pipeline, hint=hint)
        used = stages(explained)
        assert used & {"IXSCAN", "TEXT_MATCH"}
        assert "COLLSCAN" not in used
        assert max(found_in(explained, "totalDocsExamined")) <= (2 * TASKS if "q" in filters else TASKS)  # twice for a text
        assert (hint is not None) == (not filters or "description" in str(filters))
