"""Tasks in the trash do not count, as a report says, but their changes are in the daily figures."""

import pytest

from taskapi.analytics.report.daily import make_daily_report
from taskapi.analytics.report.figures import Count
from taskapi.analytics.report.page import make_page
from taskapi.analytics.report.repository import ReportRepository
from taskapi.analytics.report.service import ReportRequest, make_report
from tests.analytics.daily.refreshing import Stored, refreshed
from tests.client import Account

pytestmark = pytest.mark.real


@pytest.fixture
async def views(ada: Account, database: Stored) -> ReportRepository:
    """Those of two tasks whose priority was changed; one of them is in the trash."""
    for _ in range(2):
        task = await ada.make_task(tags=["a"], due_date="2020-01-01")
        assert (await ada.patch(f"/tasks/{task['id']}", json={"priority": 5})).status_code == 200
    assert (await ada.delete(f"/tasks/{task['id']}")).status_code == 204
    return ReportRepository(database)


@pytest.mark.parametrize("owner", [None, "ada"])
def test_report_counts_no_task_in_the_trash(views: ReportRepository, owner: str | None) -> None:
    report = make_report(views, "test", ReportRequest(owner), step=lambda _: None)
    assert (report.tasks, report.overdue, report.overdue_tags) == (1, 1, [Count("a", 1)])
    assert report.changed_fields == [Count("priority", 1)]
    assert "Tasks in the trash do not count. " in make_page(report)


async def test_daily_report_says_what_it_counts(views: ReportRepository) -> None:
    await refreshed()
    report = make_daily_report(views, "test", 12, step=lambda _: None)
    assert (report.tasks, report.overdue, report.overdue_tags) == (1, 1, [Count("a", 1)])
    assert report.changed_fields == [Count("priority", 2)]
    assert "Tasks in the trash do not count, except in the changed fields. " in make_page(report)
