"""Cycle time: how long did finished tasks take from the first time they were in progress until they were last done?

Unit: days; half of the tasks took at most p50, 85 % at most p85, 95 % at most p95 (nearest rank). By month of completion, in the
time zone ZONE (default UTC). Tasks that were never in progress do not count, nor do deleted ones. Reads v_status_periods.

Without OWNER, it reads the tasks of all users, which takes long if they have many: days_cycle_time.py does not.

    MONGODB_URI=mongodb://… OWNER=ada ZONE=Europe/Berlin python examples/pandas_cycle_time.py
"""

import os
from datetime import UTC, datetime

import pandas as pd
from bson import ObjectId
from pymongo import MongoClient
from pymongoarrow.api import Schema, find_pandas_all

OWNER = os.environ.get("OWNER")  # a user name; all users without it
ZONE = os.environ.get("ZONE", "UTC")
PERCENTS = (50, 85, 95)

with MongoClient(os.environ["MONGODB_URI"]) as client:
    views = client.get_default_database("taskapi")
    matching = {"owner_id": views["v_users"].find_one({"username": OWNER})["_id"]} if OWNER else {}
    periods = find_pandas_all(
        views["v_status_periods"],
        {
            **matching,
            "status": {"$in": ["in_progress", "done"]},
            "from": {"$lte": datetime.now(UTC)},
            "task_id": {"$type": "objectId"},
        },  # a column has one type
        schema=Schema({"task_id": ObjectId, "status": str, "from": datetime, "until": datetime}),
    )

begun = periods[periods["status"] == "in_progress"].groupby("task_id")["from"].min()
done = periods[(periods["status"] == "done") & periods["until"].isna()].groupby("task_id")["from"].max()  # not reopened
tasks = pd.DataFrame({"begun": begun, "done": done}).dropna()
tasks["days"] = (tasks["done"] - tasks["begun"]) / pd.Timedelta(days=1)
tasks["month"] = tasks["done"].dt.tz_localize("UTC").dt.tz_convert(ZONE).dt.strftime("%Y-%m")

days = tasks.groupby("month")["days"]
table = days.size().to_frame("tasks")
for percent in PERCENTS:
    table[f"p{percent}"] = days.apply(lambda took, share=percent: took.sort_values().iloc[-(-len(took) * share // 100) - 1])
print(table.reset_index().to_string(index=False, float_format="{:.2f}".format))
