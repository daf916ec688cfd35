"""Most changed fields of all users: what do they change, how often, and in how many tasks?

Unit: changes of a field, and tasks in which it was changed at least once; the creation of a task is no change. One of status may
change completed, completed_at and progress as well. Only the last 100 writes of a task are known. Deleted tasks count, until they
are purged. Reads v_days, as of the last taskapi analytics refresh, in milliseconds.

    taskapi analytics refresh
    MONGODB_URI=mongodb://… python examples/days_most_changed_fields.py
"""

import os

from pymongo import MongoClient

pipeline = [
    {"$unwind": "$fields"},
    {"$group": {"_id": "$fields.field", "changes": {"$sum": "$fields.changes"}, "tasks": {"$sum": "$fields.tasks"}}},
    {"$sort": {"changes": -1, "_id": 1}},
]

with MongoClient(os.environ["MONGODB_URI"]) as client:
    print(f"{'field':<16}  {'changes':>8}  {'tasks':>8}")
    for row in client.get_default_database("taskapi")["v_days"].aggregate(pipeline):
        print(f"{row['_id']:<16}  {row['changes']:>8}  {row['tasks']:>8}")
