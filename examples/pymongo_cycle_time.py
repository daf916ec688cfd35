"""Cycle time: how long did finished tasks take from the first time they were in progress until they were last done?

Unit: days; half of the tasks took at most p50, 85 % at most p85, 95 % at most p95 (nearest rank). By month of completion, in the
time zone ZONE (default UTC). Tasks that were never in progress do not count, nor do deleted ones. Reads v_status_periods.

Without OWNER, it reads the tasks of all users, which takes long if they have many: days_cycle_time.py does not.

    MONGODB_URI=mongodb://… OWNER=ada ZONE=Europe/Berlin python examples/pymongo_cycle_time.py
"""

import os
from datetime import UTC, datetime
from math import ceil

from pymongo import MongoClient

OWNER = os.environ.get("OWNER")  # a user name; all users without it
ZONE = os.environ.get("ZONE", "UTC")
PERCENTS = (50, 85, 95)

is_begun = {"$eq": ["$status", "in_progress"]}
is_done = {"$and": [{"$eq": ["$status", "done"]}, {"$eq": ["$until", None]}]}  # and has not been reopened
month = {"$dateToString": {"date": "$done", "format": "%Y-%m", "timezone": ZONE}}
days = {"$divide": [{"$subtract": ["$done", "$begun"]}, 24 * 60 * 60 * 1000]}
pipeline = [
    {
        "$group": {
            "_id": "$task_id",
            "begun": {"$min": {"$cond": [is_begun, "$from", None]}},
            "done": {"$max": {"$cond": [is_done, "$from", None]}},
        }
    },
    {"$match": {"begun": {"$ne": None}, "done": {"$lte": datetime.now(UTC)}}},
    {"$group": {"_id": month, "days": {"$push": days}}},
    {"$sort": {"_id": 1}},
]

with MongoClient(os.environ["MONGODB_URI"]) as client:
    views = client.get_default_database("taskapi")
    matching = {"owner_id": views["v_users"].find_one({"username": OWNER})["_id"]} if OWNER else {}
    print(f"{'month':<7}  {'tasks':>6}" + "".join(f"  {f'p{percent}':>7}" for percent in PERCENTS))
    for row in views["v_status_periods"].aggregate([{"$match": matching}, *pipeline]):
        took = sorted(row["days"])
        percentiles = [took[ceil(len(took) * percent / 100) - 1] for percent in PERCENTS]
        print(f"{row['_id']:<7}  {len(took):>6}" + "".join(f"  {value:>7.2f}" for value in percentiles))
