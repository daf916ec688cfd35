"""Most changed fields: what do users change, how often, and in how many tasks?

Unit: changes of a field, and tasks in which it was changed at least once; the creation of a task is no change. One of status may
change completed, completed_at and progress as well. Only the last 100 writes of a task are known. Deleted tasks count, until they
are purged. Reads v_task_changes.

Without OWNER, it reads the tasks of all users, which takes long if they have many: days_most_changed_fields.py does not.

    MONGODB_URI=mongodb://… OWNER=ada python examples/pandas_most_changed_fields.py
"""

import os

from bson import ObjectId
from pymongo import MongoClient
from pymongoarrow.api import Schema, find_pandas_all

OWNER = os.environ.get("OWNER")  # a user name; all users without it

with MongoClient(os.environ["MONGODB_URI"]) as client:
    views = client.get_default_database("taskapi")
    matching = {"owner_id": views["v_users"].find_one({"username": OWNER})["_id"]} if OWNER else {}
    changes = find_pandas_all(
        views["v_task_changes"],
        {**matching, "field": {"$ne": None}, "task_id": {"$type": "objectId"}},  # a column has one type
        schema=Schema({"field": str, "task_id": ObjectId}),  # only these columns are sent
    )

table = changes.groupby("field")["task_id"].agg(changes="size", tasks="nunique").reset_index()
print(table.sort_values(["changes", "field"], ascending=[False, True]).to_string(index=False))
