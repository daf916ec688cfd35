"""A report from the daily figures equals one from the tasks, but for whole hours of lead times, and changes in the trash."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskapi.analytics.report.daily import make_daily_report
from taskapi.analytics.report.figures import Report
from taskapi.analytics.report.repository import ReportRepository
from taskapi.analytics.report.service import ReportRequest, make_report
from taskapi.core.clock import midnight, today
from taskapi.core.errors import StartupError
from tests.analytics.daily.refreshing import Stored, run
from tests.client import make_account, take_task
from tests.examples import histories
from tests.stats.brute_force import PLACES

pytestmark = pytest.mark.real

HYPOTHESIS = settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
WEEKS = 60
HOUR = 3600


@pytest.fixture(scope="module")
async def template(shared: httpx.AsyncClient) -> dict[str, Any]:
    ada = await make_account(shared, "ada")
    return await take_task(ada, tags=["a"])


def daily(database: Stored, weeks: int = WEEKS) -> Report:
    return make_daily_report(ReportRepository(database), "test", weeks, step=lambda _: None)


def from_tasks(database: Stored, now: datetime) -> Report:
    return make_report(ReportRepository(database), "test", ReportRequest(weeks=WEEKS), now=now, step=lambda _: None)


def in_hours(report: Report) -> Report:
    median, p85 = (took and took // HOUR * HOUR for took in (report.lead_times.median, report.lead_times.p85))
    return replace(report, lead_times=replace(report.lead_times, median=median, p85=p85))


@given(data=st.data())
@HYPOTHESIS
def test_daily_report_equals_one_from_the_tasks(template: dict[str, Any], database: Stored, data: st.DataObject) -> None:
    owners = [{"id": user["_id"], "username": user["username"]} for user in database["users"].find()]
    always = histories.create(template, owners[0], midnight(PLACES["UTC"]))
    tasks = [always, *data.draw(histories.tasks(template, owners, "UTC"))]
    database["tasks"].delete_many({})
    database["tasks"].insert_many(tasks)
    due = data.draw(st.integers(-2, 2)) * timedelta(days=1)
    database["tasks"].update_many({"due_date": None}, {"$set": {"due_date": today() + due}})
    at = run(database, full=True).at
    found, expected = daily(database), in_hours(from_tasks(database, at))
    database["tasks"].update_many({"state": "trash"}, {"$set": {"state": "active"}}, bypass_document_validation=True)
    changed = from_tasks(database, at).changed_fields  # the daily figures have those of tasks in the trash too
    assert found == replace(expected, is_daily=True, changed_fields=changed)


def test_without_figures_there_is_no_daily_report(database: Stored) -> None:
    database["task_days"].delete_many({})
    with pytest.raises(StartupError, match="first run: taskapi analytics refresh"):
        daily(database)
