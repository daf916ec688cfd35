"""The figures of a report equal what plain Python counts, for generated tasks around the changes of the clocks."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from bson import ObjectId
from hypothesis import HealthCheck, given, settings
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from taskapi.analytics.report.figures import Report
from taskapi.analytics.report.repository import ReportRepository
from taskapi.analytics.report.service import ReportRequest, make_report
from taskapi.core.errors import StartupError
from taskapi.tasks.schemas import Status
from taskapi.tasks.storage.documents import TaskDocument
from tests.analytics.report import brute_force
from tests.analytics.report.brute_force import Case, report_cases
from tests.client import Account, make_account, take_task
from tests.stored import collection

pytestmark = pytest.mark.real

HYPOTHESIS = settings(max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
async def ada(shared: httpx.AsyncClient) -> Account:
    """Ada, with a task in the trash, and beside Bob with tasks."""
    ada, bob = await make_account(shared, "ada"), await make_account(shared, "Bob")
    gone = await ada.make_task(tags=["a"], due_date="2020-01-01")
    assert (await ada.delete(f"/tasks/{gone['id']}")).status_code == 204
    await bob.make_task(tags=["a"], priority=2, due_date="2020-01-01")
    await bob.make_task(status="done")
    return ada


@pytest.fixture(scope="module")
async def template(ada: Account) -> dict[str, Any]:
    stored = await take_task(ada)
    del stored["status_changes"]
    return stored


def report_of(database: "Database[dict[str, Any]]", now: datetime | None = None, **request: Any) -> Report:
    return make_report(ReportRepository(database), "test", ReportRequest(**request), now=now, step=lambda _: None)


@given(case=report_cases())
@HYPOTHESIS
async def test_each_figure_equals_brute_force(
    ada: Account, template: dict[str, Any], database: "Database[dict[str, Any]]", case: Case
) -> None:
    stored = [{**template, **task, "_id": ObjectId()} for task in case.stored()]
    if stored:  # validated documents have no such priorities
        await collection(TaskDocument).insert_many(stored, bypass_document_validation=True)
    try:
        report = report_of(database, case.now, owner="ada", weeks=case.weeks, zone=case.zone)
        of_all = report_of(database, case.now, weeks=case.weeks, zone=case.zone)
    finally:
        await collection(TaskDocument).delete_many({"_id": {"$in": [task["_id"] for task in stored]}})
    found = [
        (week.first_day, week.last_day, week.created, week.completed, *flow_of(week.flow), week.is_unfinished)
        for week in report.weeks
    ]
    assert found == brute_force.weeks(case)
    assert flow_of(report.start) == brute_force.flow(case, case.mondays[0] - timedelta(days=1))
    assert report.now == {status: sum(task.status == status for task in case.tasks) for status in Status}
    times = report.lead_times
    assert (times.tasks, times.median, times.p85) == brute_force.lead_times(case)
    assert report.overdue == len(brute_force.overdue(case))
    assert {each.name: each.count for each in report.overdue_tags} == brute_force.overdue_tags(case)
    assert {each.name: each.count for each in report.open_priorities} == brute_force.open_priorities(case)
    for each in (report, of_all):  # nobody else has changed a field; these are found by another index
        assert {count.name: count.count for count in each.changed_fields} == brute_force.changed_fields(case)


def flow_of(found: Any) -> tuple[int, int, int]:
    return found.todo, found.in_progress, found.done


def test_owner_narrows_all_figures(ada: Account, database: "Database[dict[str, Any]]") -> None:
    for owner, tasks, overdue in ((None, 2, 1), ("bOB", 2, 1), ("ada", 0, 0)):
        report = report_of(database, owner=owner)
        assert (report.tasks, report.overdue) == (tasks, overdue)
        assert report.weeks[-1].created == tasks
        assert sum(each.count for each in report.overdue_tags) == overdue
        assert report.lead_times.tasks == int(owner != "ada")
    assert report_of(database, owner="bOB").owner == "Bob"


async def test_damaged_documents_break_no_report(
    ada: Account, template: dict[str, Any], database: "Database[dict[str, Any]]"
) -> None:
    wrong: list[Any] = [None, 7, float("nan"), "x", [], ["x", 7], {"a": 1}, datetime(1, 1, 1, tzinfo=UTC), ObjectId(), b"x", True]
    names = [name for name in template if name not in {"_id", "owner_id", "state"}]
    damaged = [{**template, "_id": ObjectId(), name: value} for name in names for value in wrong]
    damaged += [{key: value for key, value in template.items() if key not in {"_id", name}} for name in names]
    tasks = collection(TaskDocument)
    with suppress(BulkWriteError):  # of two lists, one cannot be indexed
        await tasks.insert_many(damaged, ordered=False, bypass_document_validation=True)
    try:
        stored = await tasks.count_documents({"owner_id": template["owner_id"], "state": "active"})
        assert report_of(database, owner="ada").tasks == stored > 200
    finally:
        await collection(TaskDocument).delete_many({"owner_id": template["owner_id"]})


def test_missing_view_or_owner_is_named(ada: Account, database: "Database[dict[str, Any]]") -> None:
    with pytest.raises(StartupError, match="no account with the user name 'carol'"):
        report_of(database, owner="carol")
    with pytest.raises(StartupError, match=r"no view v_status_periods .* taskapi migrate up"):
        report_of(database.client["no_such_database"])
