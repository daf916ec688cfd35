"""Open tasks by owner and ISO week of creation: who has how many, and since when?

Unit: tasks. Weeks begin on Monday, in the time zone ZONE (default UTC). Deleted tasks do not count. Reads the folder EXTRACT
(default extract) that taskapi extract has written.

    taskapi extract --to extract
    ZONE=Europe/Berlin python examples/duckdb_open_tasks.py
"""

import os

import duckdb

EXTRACT = os.environ.get("EXTRACT", "extract")
ZONE = os.environ.get("ZONE", "UTC")

duckdb.execute(f"SET TimeZone = '{ZONE}'")
tasks = duckdb.read_parquet(f"{EXTRACT}/tasks/*.parquet")

duckdb.sql("""
    WITH latest AS (  -- each run adds a row for a task that has changed
        FROM tasks
        QUALIFY row_number() OVER (PARTITION BY _id ORDER BY changed_at DESC) = 1
    )
    SELECT owner, strftime(created_at, '%G-W%V') AS week, count(*) AS open
    FROM latest
    WHERE NOT deleted AND status IN ('todo', 'in_progress') AND created_at <= now()
    GROUP BY ALL
    ORDER BY ALL
""").show(max_rows=10_000)
