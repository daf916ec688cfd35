"""Burndown of all users: how many tasks were open at the end of each of 14 days?

Unit: tasks that existed and were not done; one that is reopened is open again. Days are in UTC; the last one is LAST_DAY (default
today, which is not over). Deleted tasks do not count. Reads v_days, as of the last taskapi analytics refresh, in milliseconds.

    taskapi analytics refresh
    MONGODB_URI=mongodb://… python examples/days_burndown.py
"""

import os
from datetime import UTC, datetime, timedelta

from pymongo import MongoClient

LAST_DAY = datetime.fromisoformat(os.environ.get("LAST_DAY") or f"{datetime.now(UTC):%Y-%m-%d}")
DAYS = [LAST_DAY - timedelta(days=back) for back in reversed(range(14))]

with MongoClient(os.environ["MONGODB_URI"]) as client:
    days = client.get_default_database("taskapi")["v_days"]
    rows = list(days.find({"day": {"$lte": LAST_DAY}}, ["day", "todo", "in_progress"]))

print(f"{'day':<10}  {'open':>6}")
for day in DAYS:
    print(f"{day:%Y-%m-%d}  {sum(row['todo'] + row['in_progress'] for row in rows if row['day'] <= day):>6}")
