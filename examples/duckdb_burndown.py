"""Burndown: how many tasks were open at the end of each of 14 days?

Unit: tasks that existed and were not done; one that is reopened is open again. Days are those of the time zone ZONE (default
UTC); the last one is LAST_DAY (default today, which is not over). Deleted tasks do not count. Reads the folder EXTRACT (default
extract) that taskapi extract has written.

    taskapi extract --to extract
    ZONE=Europe/Berlin python examples/duckdb_burndown.py
"""

import os
from datetime import date, datetime
from zoneinfo import ZoneInfo

import duckdb

EXTRACT = os.environ.get("EXTRACT", "extract")
ZONE = os.environ.get("ZONE", "UTC")
LAST_DAY = date.fromisoformat(os.environ.get("LAST_DAY") or f"{datetime.now(ZoneInfo(ZONE)):%Y-%m-%d}")

duckdb.execute(f"SET TimeZone = '{ZONE}'")
tasks = duckdb.read_parquet(f"{EXTRACT}/tasks/*.parquet")
status_periods = duckdb.read_parquet(f"{EXTRACT}/status_periods/*.parquet")

query = """
    WITH latest AS (  -- each run adds a row for a task that has changed, and its periods once more
        FROM tasks
        QUALIFY row_number() OVER (PARTITION BY _id ORDER BY changed_at DESC) = 1
    ),
    opened AS (  -- on which days in the time zone, the second being null if the period has not ended
        SELECT "from"::DATE AS first, until::DATE AS last
        FROM (SELECT DISTINCT * FROM status_periods) AS period
        JOIN latest ON latest._id = period.task_id AND latest.changed_at = period.task_changed_at
        WHERE NOT deleted AND period.status IN ('todo', 'in_progress')
    ),
    days AS (SELECT ($last::DATE - number::INT)::DATE AS day FROM range(14) AS numbers(number))
    SELECT day, count(first) AS open
    FROM days LEFT JOIN opened ON first <= day AND (last IS NULL OR last > day)
    GROUP BY day
    ORDER BY day
"""
duckdb.sql(query, params={"last": LAST_DAY}).show()
