"""Most changed fields: what do users change, how often, and in how many tasks?

Unit: changes of a field, and tasks in which it was changed at least once; the creation of a task is no change. One of status may
change completed, completed_at and progress as well. Only the last 100 writes of a task are known. Deleted tasks count, until they
are purged. Reads v_task_changes.

Without OWNER, it reads the tasks of all users, which takes long if they have many: days_most_changed_fields.py does not.

    MONGODB_URI=mongodb://… OWNER=ada python examples/pymongo_most_changed_fields.py
"""

import os

from pymongo import MongoClient

OWNER = os.environ.get("OWNER")  # a user name; all users without it

pipeline = [
    {"$match": {"field": {"$ne": None}}},
    {"$group": {"_id": {"field": "$field", "task": "$task_id"}, "changes": {"$sum": 1}}},
    {"$group": {"_id": "$_id.field", "changes": {"$sum": "$changes"}, "tasks": {"$sum": 1}}},
    {"$sort": {"changes": -1, "_id": 1}},
]

with MongoClient(os.environ["MONGODB_URI"]) as client:
    views = client.get_default_database("taskapi")
    matching = {"owner_id": views["v_users"].find_one({"username": OWNER})["_id"]} if OWNER else {}
    print(f"{'field':<16}  {'changes':>8}  {'tasks':>8}")
    for row in views["v_task_changes"].aggregate([{"$match": matching}, *pipeline]):
        print(f"{row['_id']:<16}  {row['changes']:>8}  {row['tasks']:>8}")
