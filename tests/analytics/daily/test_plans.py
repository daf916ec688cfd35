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
    assert set(found_in(explained, "indexName")) <= {"owner_id_day", "day_owner_id"}
    assert max(found_in(explained, "totalDocsExamined")) <= 1


async def test_months_of_users_are_found_by_their_index(ada: Account, bob: Account) -> None:
    for account in (ada, bob):
        for day in range(1, 29):
            await account.make_task(due_date=f"2030-01-{day:02}")
    await refreshed()
    active = {"monthly_active": 1, "day": {"$lte": datetime(2100, 1, 1)}}
    explained = await plan("v_task_days", [{"$match": active}, {"$group": {"_id": "$owner_id", "months": {"$addToSet": "$day"}}}])
    assert set(found_in(explained, "indexName")) == {"monthly_active"}
    assert max(found_in(explained, "totalDocsExamined")) == 2


async def test_sums_of_some_days_read_those_days(ada: Account) -> None:
    for day in range(1, 29):
        await ada.make_task(due_date=f"2030-01-{day:02}")
    await refreshed()
    explained = await plan("task_days", pipelines.of_all([datetime(2030, 1, 5)], NOW))
    assert "COLLSCAN" not in stages(explained)
    assert set(found_in(explained, "indexName")) == {"day_owner_id"}
    assert max(found_in(explained, "totalDocsExamined")) == 1


async def test_days_are_found_without_reading_their_figures(ada: Account) -> None:
    await ada.make_task()
    await refreshed()
    explained = await plan("task_days", [{"$group": {"_id": "$day"}}])
    assert "DISTINCT_SCAN" in stages(explained)


async def test_refresh_reads_the_tasks_of_its_users(ada: Account, bob: Account) -> None:
    for account in (ada, *[bob] * 20):
        await account.make_task()
    for view, pipeline in pipelines.facts_of([ObjectId(ada.id)]):
        explained = await plan(view, pipeline)
        assert "COLLSCAN" not in stages(explained)
        assert max(found_in(explained, "totalDocsExamined")) == 1
