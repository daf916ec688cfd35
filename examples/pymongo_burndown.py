"""Burndown: how many tasks were open at the end of each of 14 days?

Unit: tasks that existed and were not done; one that is reopened is open again. Days are those of the time zone ZONE (default
UTC); the last one is LAST_DAY (default today, which is not over). Deleted tasks do not count. Reads v_status_periods.

Without OWNER, it reads the tasks of all users, which takes long if they have many: days_burndown.py does not.

    MONGODB_URI=mongodb://… OWNER=ada ZONE=Europe/Berlin python examples/pymongo_burndown.py
"""

import os
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from pymongo import MongoClient

OWNER = os.environ.get("OWNER")  # a user name; all users without it
ZONE = os.environ.get("ZONE", "UTC")
LAST_DAY = date.fromisoformat(os.environ.get("LAST_DAY") or f"{datetime.now(ZoneInfo(ZONE)):%Y-%m-%d}")
DAYS = [(LAST_DAY - timedelta(days=back)).isoformat() for back in reversed(range(14))]

day = {"$dateToString": {"date": "$steps.at", "format": "%Y-%m-%d", "timezone": ZONE}}
pipeline = [
    {"$match": {"status": {"$in": ["todo", "in_progress"]}}},
    {"$project": {"steps": [{"at": "$from", "open": 1}, {"at": "$until", "open": -1}]}},
    {"$unwind": "$steps"},
    {"$match": {"steps.at": {"$lte": datetime.now(UTC)}}},  # a period that has not ended closes nothing
    {"$group": {"_id": day, "open": {"$sum": "$steps.open"}}},
]

with MongoClient(os.environ["MONGODB_URI"]) as client:
    views = client.get_default_database("taskapi")
    matching = {"owner_id": views["v_users"].find_one({"username": OWNER})["_id"]} if OWNER else {}
    steps = list(views["v_status_periods"].aggregate([{"$match": matching}, *pipeline]))

print(f"{'day':<10}  {'open':>6}")
for day in DAYS:
    print(f"{day:<10}  {sum(step['open'] for step in steps if step['_id'] <= day):>6}")
