"""Cohort retention: of the users whose first task is of a month, which share is still active in the following months?

A user is active in a month if they created a task in it or changed the status of one. Unit: percent of the cohort; NULL stands
for a month that has not begun. Months are those of the time zone ZONE (default UTC). Deleted tasks do not count. Reads the
folder EXTRACT (default extract) that taskapi extract has written.

    taskapi extract --to extract
    ZONE=Europe/Berlin python examples/duckdb_cohort_retention.py
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
    active AS (
        SELECT DISTINCT period.owner_id, date_trunc('month', "from"::DATE) AS month
        FROM status_periods AS period
        JOIN latest ON latest._id = period.task_id AND latest.changed_at = period.task_changed_at
        WHERE NOT deleted AND "from" <= now()
    ),
    cohorts AS (SELECT *, min(month) OVER (PARTITION BY owner_id) AS cohort FROM active),
    ages AS (
        SELECT cohort, date_diff('month', cohort, month) AS age, date_diff('month', cohort, current_date) AS last
        FROM cohorts
    )
    SELECT strftime(cohort, '%Y-%m') AS cohort, count(*) FILTER (age = 0) AS users,
        CASE WHEN last >= 1 THEN round(100 * count(*) FILTER (age = 1) / users, 1) END AS month_1,
        CASE WHEN last >= 2 THEN round(100 * count(*) FILTER (age = 2) / users, 1) END AS month_2,
        CASE WHEN last >= 3 THEN round(100 * count(*) FILTER (age = 3) / users, 1) END AS month_3
    FROM ages
    GROUP BY ages.cohort, last
    ORDER BY ages.cohort
""").show(max_rows=10_000)
