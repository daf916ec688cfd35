"""Cycle time of all users: how long did finished tasks take from the first time they were in progress until they were last done?

Unit: days, from whole hours, rounded down; half of the tasks took at most p50, 85 % at most p85, 95 % at most p95 (nearest rank).
By month of completion, in UTC. Tasks that were never in progress do not count, nor do deleted ones. Reads v_days, as of the last
taskapi analytics refresh, in a fraction of a second.

    taskapi analytics refresh
    MONGODB_URI=mongodb://… python examples/days_cycle_time.py
"""

import os
from collections import defaultdict
from datetime import UTC, datetime
from math import ceil

from pymongo import MongoClient

PERCENTS = (50, 85, 95)

month = {"$dateToString": {"date": "$day", "format": "%Y-%m"}}
pipeline = [
    {"$match": {"day": {"$lte": datetime.now(UTC)}}},
    {"$unwind": "$cycle_hours"},
    {"$group": {"_id": {"month": month, "hours": "$cycle_hours.hours"}, "tasks": {"$sum": "$cycle_hours.tasks"}}},
    {"$sort": {"_id.month": 1, "_id.hours": 1}},
]

months = defaultdict(list)
with MongoClient(os.environ["MONGODB_URI"]) as client:
    for row in client.get_default_database("taskapi")["v_days"].aggregate(pipeline):
        months[row["_id"]["month"]] += [row["_id"]["hours"]] * row["tasks"]

print(f"{'month':<7}  {'tasks':>6}" + "".join(f"  {f'p{percent}':>7}" for percent in PERCENTS))
for name, took in months.items():
    percentiles = [took[ceil(len(took) * percent / 100) - 1] / 24 for percent in PERCENTS]
    print(f"{name:<7}  {len(took):>6}" + "".join(f"  {value:>7.2f}" for value in percentiles))
