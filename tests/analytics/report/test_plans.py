"""The queries of a report on one user read the tasks of that user alone."""

import os
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from taskapi.analytics.report.repository import ReportRepository
from taskapi.analytics.report.service import ReportRequest, make_report
from tests.client import Account
from tests.conftest import URI_VARIABLE, make_settings

pytestmark = pytest.mark.real


class Recorder(CommandListener):
    """Keeps the aggregations that are sent."""

    def __init__(self) -> None:
        self.sent = list[dict[str, Any]]()

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name == "aggregate":
            self.sent.append({name: event.command[name] for name in ("aggregate", "pipeline", "cursor")})

    def succeeded(self, event: CommandSucceededEvent) -> None:
        pass

    def failed(self, event: CommandFailedEvent) -> None:
        pass


def values_of(plan: Any, name: str) -> list[Any]:
    """All values with that name, at any depth."""
    if isinstance(plan, list):
        return [found for each in plan for found in values_of(each, name)]
    if not isinstance(plan, dict):
        return []
    return [*([plan[name]] if name in plan else []), *(found for each in plan.values() for found in values_of(each, name))]


async def test_owner_s_report_reads_only_their_tasks(ada: Account) -> None:
    for number in range(20):
        await ada.make_task(status="done", tags=["a"], due_date="2020-01-01" if number else None)
    await ada.make_task(due_date="2020-01-01")
    recorder = Recorder()
    with MongoClient[dict[str, Any]](os.environ[URI_VARIABLE], event_listeners=[recorder]) as client:
        database = client[make_settings().mongodb_database]
        make_report(ReportRepository(database), "test", ReportRequest(owner="ada"), step=lambda _: None)
        of_tasks = [command for command in recorder.sent if command["aggregate"] != "v_users"]
        assert len(of_tasks) == 6
        for command in of_tasks:
            plan = database.command("explain", command)
            assert "COLLSCAN" not in values_of(plan, "stage"), command
            assert [name for name in values_of(plan, "indexName") if name.startswith("owner_id_")], command
