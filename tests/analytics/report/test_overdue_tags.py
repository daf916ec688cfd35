"""Overdue tasks by tag: of all users by an index, and of very many users without."""

import pytest

from taskapi.analytics.report import repository
from taskapi.analytics.report.repository import ReportRepository
from taskapi.core.clock import today
from tests.analytics.daily.refreshing import Stored
from tests.client import Account
from tests.plans import found_in, stages

pytestmark = pytest.mark.real


@pytest.mark.parametrize("most", [1, 2])
async def test_tags_of_all_users_are_counted(
    ada: Account, bob: Account, database: Stored, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(repository, "MAX_OWNERS", most)
    for account in (ada, bob):
        await account.make_task(tags=["a", "b"], due_date="2020-01-01")
        await account.make_task(due_date="2020-01-01")
        await account.make_task(tags=["a"], due_date="2020-01-01", status="done")
        await account.make_task(tags=["a"])
    await ada.make_task(tags=["b"], due_date="2020-01-01")
    found = ReportRepository(database).count_overdue_tags({}, today())
    assert found == [{"_id": "b", "tasks": 3}, {"_id": None, "tasks": 2}, {"_id": "a", "tasks": 2}]


async def test_overdue_tasks_are_found_by_their_index(ada: Account, bob: Account, database: Stored) -> None:
    for account in (ada, bob):
        for number in range(20):
            due, status = [("2020-01-01", "done"), ("2100-01-01", "todo")][number % 2]
            await account.make_task(due_date=due, status=status if number else "todo")
    owners = [user["_id"] for user in database["users"].find({}, {"_id": 1})]
    overdue = {"owner_id": {"$in": owners}, "status": {"$ne": "done"}, "due_date": {"$lt": today()}}
    command = {"aggregate": "v_task_tags", "pipeline": [{"$match": overdue}], "cursor": {}}
    plan = database.command("explain", command, verbosity="executionStats")
    assert "COLLSCAN" not in stages(plan)
    assert found_in(plan, "indexName")[0] == "owner_id_status_due"
    assert max(found_in(plan, "totalDocsExamined")) == 2
