"""Each example prints what plain Python counts: in a seeded database, for what users have done, and for generated histories."""

import asyncio
import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account
from tests.conftest import URI_VARIABLE, make_settings
from tests.examples import histories
from tests.examples.brute_force import TABLES
from tests.examples.seeded import LAST_DAY, Seeded, name_database, seeded
from tests.examples.tables import EXAMPLES, MAX_LINES, assert_is, read_table, run_as_users_do, run_quickly
from tests.stats.brute_force import PLACES
from tests.stored import collection

pytestmark = pytest.mark.real

VIEW_EXAMPLES = [(tool, question) for tool in ("pymongo", "pandas") for question in TABLES]
HYPOTHESIS = settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seeded]:
    with seeded(tmp_path_factory.mktemp("seed"), users=20, tasks=700) as found:
        yield found


@pytest.fixture(scope="module")
def nearly_empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seeded]:
    """Three users and one task, in the place of which tests may put others."""
    with seeded(tmp_path_factory.mktemp("seed"), users=3, tasks=1) as found:
        yield found


@pytest.fixture(scope="module")
def template(nearly_empty: Seeded) -> dict[str, Any]:
    (task,) = nearly_empty.tasks
    return task


def test_examples_are_short() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in EXAMPLES.glob("*.py")}
    assert set(lengths) >= {f"{tool}_{question}.py" for tool, question in VIEW_EXAMPLES}
    assert {name for name, length in lengths.items() if length > MAX_LINES} == set()


@pytest.mark.parametrize(("tool", "question"), VIEW_EXAMPLES)
def test_example_counts_seeded_tasks(database: Seeded, tmp_path: Path, tool: str, question: str) -> None:
    expected = TABLES[question](database.tasks, ZoneInfo("Europe/Berlin"), date.fromisoformat(LAST_DAY))
    assert len(expected) > 3
    printed = run_as_users_do(f"{tool}_{question}", tmp_path, database.variables("Europe/Berlin"))
    assert_is(read_table(printed), expected)


async def test_examples_count_what_users_did(ada: Account, bob: Account) -> None:
    """Through the API: created, begun, completed, reopened, deleted, restored, imported."""
    tasks = [await ada.make_task(f"Task {number}") for number in range(4)]
    for status in ("in_progress", "done", "in_progress", "done"):
        await ada.patch(f"/tasks/{tasks[0]['id']}", json={"status": status})
    await ada.patch(f"/tasks/{tasks[1]['id']}", json={"priority": 5, "tags": ["a"]})
    await ada.delete(f"/tasks/{tasks[2]['id']}")
    await ada.delete(f"/tasks/{tasks[3]['id']}")
    await ada.post(f"/tasks/{tasks[3]['id']}/restore")
    month_ago = datetime.now(UTC) - timedelta(days=31)
    old = {"title": "Old", "created_at": month_ago.isoformat(), "status": "done", "completed_at": month_ago.isoformat()}
    assert (await bob.post("/tasks/import", json=[old])).status_code == 200
    await bob.make_task("New")

    stored, today = await collection(TaskDocument).find({}).to_list(None), datetime.now(UTC).date()
    uri = name_database(os.environ[URI_VARIABLE], make_settings().mongodb_database)
    tables = {question: table(stored, ZoneInfo("UTC"), today) for question, table in TABLES.items()}
    assert [row[1:] for row in tables["cycle_time"]] == [[1, *3 * [pytest.approx(0, abs=0.01)]]]
    assert tables["burndown"][-1] == [today.isoformat(), 3]
    changes = {str(name): (count, changed) for name, count, changed in tables["most_changed_fields"]}
    assert {name: changes[name] for name in ("status", "priority", "tags")} == {
        "status": (4, 1),
        "priority": (1, 1),
        "tags": (1, 1),
    }
    for tool, question in VIEW_EXAMPLES:
        variables = {"TASKAPI_ANALYTICS_URI": uri, "ZONE": "UTC", "LAST_DAY": today.isoformat()}
        printed = await asyncio.to_thread(run_quickly, f"{tool}_{question}", variables)
        assert_is(read_table(printed), tables[question])


@given(data=st.data(), zone=st.sampled_from(sorted(PLACES)), days=st.integers(-10, 20))
@HYPOTHESIS
def test_examples_count_generated_histories(
    nearly_empty: Seeded, template: dict[str, Any], data: st.DataObject, zone: str, days: int
) -> None:
    stored, last = nearly_empty.database, PLACES[zone] + timedelta(days=days)
    owners = [{"id": user["_id"], "username": user["username"]} for user in stored["users"].find()]
    generated = data.draw(histories.tasks(template, owners, zone))
    stored["tasks"].delete_many({})
    if generated:
        stored["tasks"].insert_many(generated)
    for tool, question in VIEW_EXAMPLES:
        expected = TABLES[question](nearly_empty.tasks, ZoneInfo(zone), last)
        printed = run_quickly(f"{tool}_{question}", nearly_empty.variables(zone, last.isoformat()))
        assert_is(read_table(printed), expected)
