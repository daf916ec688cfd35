"""Most changed fields: what do users change, how often, and in how many tasks?

Unit: changes of a field, and tasks in which it was changed at least once; the creation of a task is no change. One of status may
change completed, completed_at and progress as well. Only the last 100 writes of a task are known. Deleted tasks count, until they
are purged. Reads the folder EXTRACT (default extract) that taskapi extract has written.

    taskapi extract --to extract
    python examples/duckdb_most_changed_fields.py
"""

import os

import duckdb

EXTRACT = os.environ.get("EXTRACT", "extract")

tasks = duckdb.read_parquet(f"{EXTRACT}/tasks/*.parquet")
task_changes = duckdb.read_parquet(f"{EXTRACT}/task_changes/*.parquet")

duckdb.sql("""
    WITH latest AS (  -- each run adds a row for a task that has changed, and its changes once more
        FROM tasks
        QUALIFY row_number() OVER (PARTITION BY _id ORDER BY changed_at DESC) = 1
    )
    SELECT field, count(*) AS changes, count(DISTINCT task_id) AS tasks
    FROM (SELECT DISTINCT * FROM task_changes) AS change
    JOIN latest ON latest._id = change.task_id AND latest.changed_at = change.task_changed_at
    WHERE field IS NOT NULL
    GROUP BY field
    ORDER BY changes DESC, field
""").show(max_rows=10_000)
