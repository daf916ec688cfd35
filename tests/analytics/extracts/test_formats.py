"""Parquet files are written in pieces, and long cells of CSV can be read back."""

import io
from pathlib import Path

import pyarrow.parquet

from taskapi.analytics.extracts.formats import CSV, GROUP_BYTES, Parquet
from taskapi.analytics.extracts.rows import Row
from taskapi.analytics.extracts.tables import TABLES
from taskapi.core.clock import utc_now


def change(text: str) -> Row:
    return ("a" * 24, "b" * 24, 2, utc_now(), "b" * 24, "ada", "update", "description", text, text, utc_now())


def test_few_long_rows_are_not_kept_in_memory() -> None:
    row = change("x" * (GROUP_BYTES // 2))
    file = io.BytesIO()
    encoder = Parquet().encoder(file, TABLES["task_changes"])
    for _ in range(3):
        encoder.add([row])
    encoder.finish()
    assert pyarrow.parquet.ParquetFile(file).num_row_groups == 3


def test_long_cells_of_csv_are_read_back(tmp_path: Path) -> None:
    row, path = change("x" * 200_000), tmp_path / "task_changes.csv"
    table = TABLES["task_changes"]
    with path.open("wb") as file:
        encoder = CSV().encoder(file, table)
        encoder.add([row])
        encoder.finish()
    assert list(CSV().read(path, table, table.names[:1])) == [[row[0]]]
