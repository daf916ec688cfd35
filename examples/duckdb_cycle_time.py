"""Cycle time: how long did finished tasks take from the first time they were in progress until they were last done?

Unit: days; half of the tasks took at most p50, 85 % at most p85, 95 % at most p95 (nearest rank). By month of completion, in the
time zone ZONE (default UTC). Tasks that were never in progress do not count, nor do deleted ones. Reads the folder EXTRACT
(default extract) that taskapi extract has written.

    taskapi extract --to extract
    ZONE=Europe/Berlin python examples/duckdb_cycle_time.py
"""

import os

import duckdb

EXTRACT = os.environ.get("EXTRACT", "extract")
ZONE = os.environ.get("ZONE", "UTC")

duckdb.execute(f"SET TimeZone = '{ZONE}'")
tasks = duckdb.read_parquet(f"{EXTRACT}/tasks/*.parquet")
status_periods = duckdb.read_parquet(f"{EXTRACT}/status_periods/*.parquet")

duckdb.sql("""
    WITH latest AS (  -- each run adds a row for a task that has changed, and its periods once more
        FROM tasks
        QUALIFY row_number() OVER (PARTITION BY _id ORDER BY changed_at DESC) = 1
    ),
    finished AS (
        SELECT min("from") FILTER (period.status = 'in_progress') AS begun,
            max("from") FILTER (period.status = 'done' AND until IS NULL) AS done  -- and has not been reopened
        FROM status_periods AS period
        JOIN latest ON latest._id = period.task_id AND latest.changed_at = period.task_changed_at
        WHERE NOT deleted
        GROUP BY task_id
    ),
    cycles AS (
        SELECT strftime(done, '%Y-%m') AS month, (epoch(done) - epoch(begun)) / 86400 AS days
        FROM finished
        WHERE begun IS NOT NULL AND done <= now()
    )
    SELECT month, count(*) AS tasks, round(quantile_disc(days, 0.5), 2) AS p50, round(quantile_disc(days, 0.85), 2) AS p85,
        round(quantile_disc(days, 0.95), 2) AS p95
    FROM cycles
    GROUP BY month
    ORDER BY month
""").show(max_rows=10_000)
