"""Open tasks by owner and ISO week of creation: who has how many, and since when?

Unit: tasks. Weeks begin on Monday, in the time zone ZONE (default UTC). Deleted tasks do not count. Reads v_tasks.

Without OWNER, it reads the tasks of all users, which takes long if they have many: days_open_tasks.py does not.

    MONGODB_URI=mongodb://… OWNER=ada ZONE=Europe/Berlin python examples/pymongo_open_tasks.py
"""

import os
from datetime import UTC, datetime

from pymongo import MongoClient

OWNER = os.environ.get("OWNER")  # a user name; all users without it
ZONE = os.environ.get("ZONE", "UTC")

week = {"$dateToString": {"date": "$created_at", "format": "%G-W%V", "timezone": ZONE}}
pipeline = [
    {"$match": {"status": {"$in": ["todo", "in_progress"]}, "created_at": {"$lte": datetime.now(UTC)}}},
    {"$group": {"_id": {"owner": "$owner", "week": week}, "open": {"$sum": 1}}},
    {"$sort": {"_id.owner": 1, "_id.week": 1}},
]

with MongoClient(os.environ["MONGODB_URI"]) as client:
    views = client.get_default_database("taskapi")
    matching = {"owner_id": views["v_users"].find_one({"username": OWNER})["_id"]} if OWNER else {}
    print(f"{'owner':<32}  {'week':<8}  {'open':>6}")
    for row in views["v_tasks"].aggregate([{"$match": matching}, *pipeline]):
        print(f"{row['_id']['owner']!s:<32}  {row['_id']['week']:<8}  {row['open']:>6}")
