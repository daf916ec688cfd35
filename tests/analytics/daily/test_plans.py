"""Questions to the daily figures read no task, and a refresh reads those of the users whom it counts."""

from datetime import datetime

import pytest
from bson import ObjectId

from taskapi.analytics.daily import pipelines
from taskapi.db.connection import BSON
from taskapi.tasks.storage.documents import TaskDocument
from tests.analytics.daily.refreshing import refreshed
from tests.client import Account
from tests.plans import found_in, stages
from tests.stored import collection

pytestmark = pytest.mark.real

NOW = datetime(2030, 1, 1)


async def plan(view: str, pipeline: list[BSON]) -> BSON:
    """How MongoDB answers a question to a view."""
    command = {"aggregate": view, "pipeline": pipeline, "cursor": {}}
    found: BSON = await collection(TaskDocument).database.command({"explain": command, "verbosity": "executionStats"})
    return found


@pytest.mark.parametrize(
    ("view", "pipeline"),
    [
        ("v_days", [{"$group": {"_id": None, "todo": {"$sum": "$todo"}}}]),
        ("v_days", [{"$match": {"day": {"$gte": NOW}}}, {"$unwind": "$fields"}]),
        ("v_task_days", [{"$match": {"owner_id": ObjectId()}}]),
        ("v_task_days", [{"$match": {"open": {"$gt": 0}}}, {"$group": {"_id": "$day", "open": {"$sum": "$open"}}}]),
        ("v_task_days", [{"$match": {"status_changes": {"$gt": 0}}}, {"$group": {"_id": "$owner_id", "last": {"$max": "$day"}}}]),
    ],
    ids=["sum of all days", "fields of some days", "days of a user", "open by day", "last change by user"],
)
async def test_daily_figures_are_found_by_their_index(ada: Account, view: str, pipeline: list[BSON]) -> None:
    for number in range(20):
        await ada.make_task(f"Task {number}")
    await refreshed()
    explained = await plan(view, pipeline)
    assert "COLLSCAN" not in stages(explained)
    assert set(found_in(explained, "indexName")) == {"owner_id_day"}
    assert max(found_in(explained, "totalDocsExamined")) <= 1


async def test_refresh_reads_the_tasks_of_its_users(ada: Account, bob: Account) -> None:
    for account in (ada, *[bob] * 20):
        await account.make_task()
    for view, pipeline in pipelines.facts_of([ObjectId(ada.id)]):
        explained = await plan(view, pipeline)
        assert "COLLSCAN" not in stages(explained)
        assert max(found_in(explained, "totalDocsExamined")) == 1
