"""pandas, Polars and DuckDB read an extract as its page shows, with the types that it promises."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pytest

from taskapi.analytics.extracts.tables import TABLES
from tests.analytics.extracts.copies import run
from tests.client import Account

pytestmark = pytest.mark.real

PAGE = (Path(__file__).parents[3] / "docs" / "extracts.md").read_text()
FORMULA = "=cmd|' /C calc'!A0"


def blocks(language: str) -> Iterator[str]:
    yield from re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
async def tasks(ada: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The ids of tasks by their titles, after two runs into ``extract`` in Parquet, and one in each other format."""
    plan = await ada.make_task(
        "Plan",
        due_date="2027-01-31",
        estimate_minutes=90,
        tags=["work", "writing"],
        checklist=[{"text": "one", "done": True}, {"text": "two"}],
        metadata={"project": {"name": "Apollo"}, "rate": 80.5},
    )
    gone = await ada.make_task("Gone")
    formula = await ada.make_task(FORMULA, metadata={"a": "b,=1+1"})
    await run(tmp_path / "extract")
    await ada.patch(f"/tasks/{plan['id']}", json={"status": "in_progress"})
    await ada.patch(f"/tasks/{plan['id']}", json={"status": "done"})
    await ada.delete(f"/tasks/{gone['id']}")
    await run(tmp_path / "extract")
    for name in ("jsonl", "csv"):
        await run(tmp_path / name, format=name)
    monkeypatch.chdir(tmp_path)
    return {"Plan": plan["id"], "Gone": gone["id"], FORMULA: formula["id"]}


async def test_duckdb_reads_the_current_state(tasks: dict[str, str]) -> None:
    with duckdb.connect() as database:
        for block in blocks("sql"):
            database.execute(block)
        types = dict(database.execute("SELECT column_name, column_type FROM (DESCRIBE tasks)").fetchall())
        assert types["due_date"] == "DATE"
        assert types["tags"] == "VARCHAR[]"
        assert types["priority"] == types["version"] == types["estimate_minutes"] == "BIGINT"
        assert types["changed_at"] == types["created_at"] == "TIMESTAMP WITH TIME ZONE"
        assert types["deleted"] == types["completed"] == "BOOLEAN"
        assert types["progress"] == types["lead_time_days"] == "DOUBLE"
        found = database.execute(
            "SELECT title, due_date, tags, checklist_done, metadata->>'$.project.name' FROM tasks ORDER BY title"
        ).fetchall()
        assert found == [
            (FORMULA, None, [], 0, None),
            ("Plan", date(2027, 1, 31), ["work", "writing"], 1, "Apollo"),
        ]
        periods = database.execute(
            'SELECT status, until IS NULL FROM status_periods WHERE task_id = ? ORDER BY "from"', [tasks["Plan"]]
        ).fetchall()
        assert periods == [("todo", False), ("in_progress", False), ("done", True)]


async def test_pandas_reads_the_current_state(tasks: dict[str, str]) -> None:
    (block,) = [block for block in blocks("python") if "pandas" in block]
    found: dict[str, Any] = {}
    exec(block, found)
    frame, periods = found["tasks"], found["periods"]
    assert set(frame["title"]) == {"Plan", FORMULA}
    types = {name: str(kind) for name, kind in frame.dtypes.items()}
    assert types["due_date"] == "date32[day][pyarrow]"
    assert types["estimate_minutes"] == types["priority"] == "int64[pyarrow]"
    assert types["created_at"] == "timestamp[ms, tz=UTC][pyarrow]"
    assert types["tags"].startswith("list<")
    plan = frame[frame["title"] == "Plan"].iloc[0]
    assert (plan["due_date"], plan["estimate_minutes"], list(plan["tags"])) == (date(2027, 1, 31), 90, ["work", "writing"])
    assert sorted(periods[periods["task_id"] == tasks["Plan"]]["status"]) == ["done", "in_progress", "todo"]
    plain = pd.read_parquet("extract/tasks")
    assert str(plain["created_at"].dtype) == "datetime64[ms, UTC]"


async def test_polars_reads_the_current_state(tasks: dict[str, str]) -> None:
    (block,) = [block for block in blocks("python") if "polars" in block]
    found: dict[str, Any] = {}
    exec(block, found)
    frame, periods = found["tasks"].collect(), found["periods"].collect()
    assert set(frame["title"]) == {"Plan", FORMULA}
    assert frame.schema["due_date"] == pl.Date
    assert frame.schema["tags"] == pl.List(pl.String)
    assert frame.schema["priority"] == pl.Int64
    assert frame.schema["changed_at"] == pl.Datetime("ms", "UTC")
    assert periods.filter(task_id=tasks["Plan"]).height == 3


async def test_lines_and_cells_hold_the_same(tasks: dict[str, str]) -> None:
    with duckdb.connect() as database:
        wanted = "SELECT title, priority, due_date, tags, state FROM {} ORDER BY title"
        expected = database.execute(wanted.format("'jsonl/tasks/*.jsonl'")).fetchall()
        assert expected[2] == ("Plan", 1, date(2027, 1, 31), ["work", "writing"], "active")
        lines = database.execute("SELECT metadata FROM 'jsonl/tasks/*.jsonl' WHERE title = 'Plan'").fetchall()
        assert json.loads(lines[0][0]) == {"project": {"name": "Apollo"}, "rate": 80.5}
        cells = database.execute(
            "SELECT title, metadata, tags, due_date, created_at FROM 'csv/tasks/*.csv' ORDER BY title"
        ).fetchall()
        assert [cell[0] for cell in cells] == [f"'{FORMULA}", "Gone", "Plan"]
        assert json.loads(cells[0][1]) == {"a": "b,=1+1"}
        assert ",=" not in cells[0][1]
        assert (json.loads(cells[2][2]), cells[2][3]) == (["work", "writing"], date(2027, 1, 31))
        frame = pd.read_csv("csv/tasks/part-000001.csv", parse_dates=["created_at"])
        assert abs(frame["created_at"].iloc[0] - datetime.now(UTC)).days < 2


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_columns_are_documented(table: Any) -> None:
    section = PAGE.split(f"#### `{table.name}`\n", 1)[1].split("\n#", 1)[0]
    rows = re.findall(r"^\| `(\w+)` \| ([\w ]+) \| (.*?) ?\|$", section, re.MULTILINE)
    kinds = {"moment": "time"}
    assert rows == [(each.name, kinds.get(each.kind, str(each.kind)), each.description) for each in table.columns]
