"""Most changed fields: what do users change, how often, and in how many tasks?

Unit: changes of a field, and tasks in which it was changed at least once; the creation of a task is no change. One of status may
change completed, completed_at and progress as well. Only the last 100 writes of a task are known. Deleted tasks count, until they
are purged. Reads v_task_changes.

    MONGODB_URI=mongodb://… python examples/pandas_most_changed_fields.py
"""

import os

from bson import ObjectId
from pymongo import MongoClient
from pymongoarrow.api import Schema, find_pandas_all

with MongoClient(os.environ["MONGODB_URI"]) as client:
    changes = find_pandas_all(
        client.get_default_database("taskapi")["v_task_changes"],
        {"field": {"$ne": None}},
        schema=Schema({"field": str, "task_id": ObjectId}),  # only these columns are sent
    )

table = changes.groupby("field")["task_id"].agg(changes="size", tasks="nunique").reset_index()
print(table.sort_values(["changes", "field"], ascending=[False, True]).to_string(index=False))
