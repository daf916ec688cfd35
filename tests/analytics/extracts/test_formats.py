"""Parquet files are written in pieces."""

import io

import pyarrow.parquet

from taskapi.analytics.extracts.formats import GROUP_BYTES, Parquet
from taskapi.analytics.extracts.tables import TABLES
from taskapi.core.clock import utc_now


def test_few_long_rows_are_not_kept_in_memory() -> None:
    text = "x" * (GROUP_BYTES // 2)
    row = ("a" * 24, "b" * 24, 2, utc_now(), "b" * 24, "ada", "update", "description", text, text, utc_now())
    file = io.BytesIO()
    encoder = Parquet().encoder(file, TABLES["task_changes"])
    for _ in range(3):
        encoder.add([row])
    encoder.finish()
    assert pyarrow.parquet.ParquetFile(file).num_row_groups == 3
