"""For one user, an example reads no task of others; for all users, those that read daily figures read no task."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.examples.brute_force import TABLES
from tests.examples.sources import LAST_DAY, Source, seeded
from tests.examples.tables import assert_is, read_table, run_quickly

pytestmark = pytest.mark.real

OWNED = [(tool, question) for tool in ("pymongo", "pandas") for question in TABLES]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    with seeded(tmp_path_factory.mktemp("seed"), users=10, tasks=400) as found:
        found.update()
        yield found


def watched(source: Source, name: str, **variables: str) -> tuple[str, Sequence[dict[str, Any]]]:
    """What an example prints, and what MongoDB did for it."""
    database = source.database
    database["system.profile"].drop()
    database.command("profile", 2)
    try:
        printed = run_quickly(name, {**source.variables(), **variables})
    finally:
        database.command("profile", 0)
    done = list(database["system.profile"].find({"op": {"$in": ["command", "query"]}, "planSummary": {"$exists": True}}))
    database["system.profile"].drop()  # other tests look at what a database holds
    return printed, done


@pytest.mark.parametrize(("tool", "question"), OWNED)
def test_example_for_one_user_reads_their_tasks(source: Source, tool: str, question: str) -> None:
    owner = source.database["users"].find_one({"username": {"$exists": True}})
    assert owner
    printed, done = watched(source, f"{tool}_{question}", OWNER=owner["username"])
    theirs = list(source.database["tasks"].find({"owner_id": owner["_id"]}))
    assert_is(read_table(printed), TABLES[question](theirs, ZoneInfo("UTC"), date.fromisoformat(LAST_DAY)))
    examined = [each["docsExamined"] for each in done if "owner_id" in each["planSummary"]]
    assert examined
    assert max(examined) <= len(theirs)
    assert [each["planSummary"] for each in done if "owner_id" not in each["planSummary"]] == ["COLLSCAN"]  # of the users


@pytest.mark.parametrize("question", TABLES)
def test_daily_figures_answer_without_tasks(source: Source, question: str) -> None:
    _, done = watched(source, f"days_{question}")
    assert [each["planSummary"] for each in done if "owner_id" in each["planSummary"]]
    others = [each["command"] for each in done if "owner_id" not in each["planSummary"]]
    assert {command.get("find", command.get("aggregate")) for command in others} <= {"v_users"}
