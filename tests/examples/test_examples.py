"""Each example prints what plain Python counts: in a seeded database, for what users have done, and for generated histories."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from bson import ObjectId
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.client import Account
from tests.conftest import make_settings
from tests.examples import histories
from tests.examples.brute_force import BSON, TABLES, expected_of
from tests.examples.sources import LAST_DAY, Source, opened, seeded
from tests.examples.tables import EXAMPLES, MAX_LINES, assert_is, read_table, run_as_users_do, run_quickly
from tests.stats.brute_force import PLACES

pytestmark = pytest.mark.real

NAMES = [(tool, question) for tool in ("pymongo", "pandas", "duckdb", "days") for question in TABLES]
LIVE = {"webhook_receiver"}  # examples of the API, which have tests of their own
HYPOTHESIS = settings(  # to shrink a failure would run each example hundreds of times
    max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    with seeded(tmp_path_factory.mktemp("seed"), users=20, tasks=700) as found:
        found.update()
        yield found


@pytest.fixture(scope="module")
def nearly_empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    """Three users and one task, in the place of which tests may put others."""
    with seeded(tmp_path_factory.mktemp("seed"), users=3, tasks=1) as found:
        yield found


@pytest.fixture(scope="module")
def template(nearly_empty: Source) -> dict[str, Any]:
    (task,) = nearly_empty.tasks
    return task


def test_there_are_these_examples_all_short() -> None:
    paths = [path for path in EXAMPLES.glob("*.py") if path.stem not in LIVE and not path.stem.startswith("events_")]
    lengths = {path.stem: len(path.read_text().splitlines()) for path in paths}
    assert set(lengths) == {f"{tool}_{question}" for tool, question in NAMES}
    assert {name for name, length in lengths.items() if length > MAX_LINES} == set()


@pytest.mark.parametrize(("tool", "question"), NAMES)
def test_example_counts_seeded_tasks(source: Source, tmp_path: Path, tool: str, question: str) -> None:
    expected = expected_of(tool, question, source.tasks, "Europe/Berlin", date.fromisoformat(LAST_DAY))
    assert len(expected) > 3
    printed = run_as_users_do(f"{tool}_{question}", tmp_path, source.variables("Europe/Berlin"))
    assert_is(read_table(printed), expected)


def assert_examples_agree(source: Source, tasks: Sequence[BSON], zone: str, last: date) -> None:
    """Fails unless all examples print what plain Python counts of these tasks."""
    for tool, question in NAMES:
        printed = run_quickly(f"{tool}_{question}", source.variables(zone, last.isoformat()))
        assert_is(read_table(printed), expected_of(tool, question, tasks, zone, last))


async def test_examples_count_what_users_did(ada: Account, bob: Account, tmp_path: Path) -> None:
    """Through the API: created, begun, completed, reopened, deleted, restored, purged, imported."""
    tasks = [await ada.make_task(f"Task {number}") for number in range(5)]
    paths = [f"/tasks/{task['id']}" for task in tasks]
    month_ago = (datetime.now(UTC) - timedelta(days=31)).isoformat()
    old = {"title": "Old", "created_at": month_ago, "status": "done", "completed_at": month_ago}
    assert (await bob.post("/tasks/import", json=[old])).status_code == 200
    today = datetime.now(UTC).date()
    with opened(make_settings().mongodb_database, tmp_path) as source:
        await asyncio.to_thread(source.update)
        for status in ("in_progress", "done", "in_progress", "done"):
            await ada.patch(paths[0], json={"status": status})
        await ada.patch(paths[1], json={"priority": 5, "tags": ["a"]})
        for path in paths[2:]:
            assert (await ada.delete(path)).status_code == 204
        assert (await ada.post(f"{paths[3]}/restore")).status_code == 200
        assert (await ada.delete(f"/trash/{tasks[4]['id']}")).status_code == 204
        await bob.make_task("New")
        await asyncio.to_thread(source.update)

        await asyncio.to_thread(assert_examples_agree, source, source.tasks, "UTC", today)
        counted = {question: table(source.tasks, ZoneInfo("UTC"), today) for question, table in TABLES.items()}
    assert [row[1:] for row in counted["cycle_time"]] == [[1, *3 * [pytest.approx(0, abs=0.01)]]]
    assert counted["burndown"][-1] == [today.isoformat(), 3]
    assert [row for row in counted["most_changed_fields"] if row[0] in {"status", "priority", "tags"}] == [
        ["status", 4, 1], ["priority", 1, 1], ["tags", 1, 1],
    ]  # fmt: skip


def test_task_of_the_year_9999_spoils_no_figure(nearly_empty: Source, template: dict[str, Any]) -> None:
    """In Berlin, it is of the year 10000."""
    at, end = template["created_at"], datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
    known, late = (histories.create(template, template["owner"], time) for time in (at, end))
    nearly_empty.database["tasks"].delete_many({})
    nearly_empty.database["tasks"].insert_many([known, late])
    nearly_empty.update(full=True)
    assert_examples_agree(nearly_empty, [known], "Europe/Berlin", at.date())


@pytest.mark.parametrize(("zone", "week"), [("UTC", "0001-W01"), ("America/Los_Angeles", "0000-W52")])
@pytest.mark.parametrize("tool", ["pymongo", "pandas"])
def test_task_of_year_1_has_a_week(nearly_empty: Source, template: dict[str, Any], tool: str, zone: str, week: str) -> None:
    task = histories.create(template, template["owner"], datetime.min.replace(tzinfo=UTC))
    nearly_empty.database["tasks"].delete_many({})
    nearly_empty.database["tasks"].insert_one(task)
    printed = run_quickly(f"{tool}_open_tasks", nearly_empty.variables(zone))
    assert read_table(printed) == [[task["owner"]["username"], week, "1"]]


def test_ids_of_another_type_stop_no_pandas(nearly_empty: Source, template: dict[str, Any]) -> None:
    odd: list[BSON] = [{"_id": "an id"}, {"_id": ObjectId(), "owner_id": 5}]
    changes = [{"status": "in_progress", "at": template["created_at"]}]
    stored = [{**template, "key": str(number), "status_changes": changes, **each} for number, each in enumerate(odd)]
    nearly_empty.database["tasks"].insert_many(stored, bypass_document_validation=True)
    try:
        for question in TABLES:
            run_quickly(f"pandas_{question}", nearly_empty.variables())
    finally:
        nearly_empty.database["tasks"].delete_many({"_id": {"$in": [each["_id"] for each in stored]}})


@given(data=st.data(), zone=st.sampled_from(sorted(PLACES)), days=st.integers(-10, 20))
@HYPOTHESIS
def test_examples_count_generated_histories(
    nearly_empty: Source, template: dict[str, Any], data: st.DataObject, zone: str, days: int
) -> None:
    database = nearly_empty.database
    owners = [{"id": user["_id"], "username": user["username"]} for user in database["users"].find()]
    database["tasks"].delete_many({})
    database["tasks"].insert_many(data.draw(histories.tasks(template, owners, zone)))
    nearly_empty.update(full=True)
    assert_examples_agree(nearly_empty, nearly_empty.tasks, zone, PLACES[zone] + timedelta(days=days))
