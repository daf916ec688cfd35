"""Open tasks by owner and ISO week of creation: who has how many, and since when?

Unit: tasks. Weeks begin on Monday, in UTC. Deleted tasks do not count. Reads v_task_days, as of the last taskapi analytics
refresh, and v_users.

    taskapi analytics refresh
    MONGODB_URI=mongodb://… python examples/days_open_tasks.py
"""

import os
from datetime import UTC, datetime

from pymongo import MongoClient

week = {"$dateToString": {"date": "$day", "format": "%G-W%V"}}
pipeline = [
    {"$match": {"open": {"$gt": 0}, "day": {"$lte": datetime.now(UTC)}}},
    {"$group": {"_id": {"owner": "$owner_id", "week": week}, "open": {"$sum": "$open"}}},
]

with MongoClient(os.environ["MONGODB_URI"]) as client:
    views = client.get_default_database("taskapi")
    names = {user["_id"]: user["username"] for user in views["v_users"].find({}, ["username"])}
    rows = [(names[row["_id"]["owner"]], row["_id"]["week"], row["open"]) for row in views["v_task_days"].aggregate(pipeline)]

print(f"{'owner':<32}  {'week':<8}  {'open':>6}")
for owner, name, count in sorted(rows):
    print(f"{owner:<32}  {name:<8}  {count:>6}")
