"""Cohort retention: of the users whose first task is of a month, which share is still active in the following months?

A user is active in a month if they created a task in it or changed the status of one. Unit: percent of the cohort; a dash stands
for a month that has not begun. Months are those of the time zone ZONE (default UTC). Deleted tasks do not count. Reads
v_status_periods.

Without OWNER, it reads the tasks of all users, which takes long if they have many: days_cohort_retention.py does not.

    MONGODB_URI=mongodb://… OWNER=ada ZONE=Europe/Berlin python examples/pandas_cohort_retention.py
"""

import os
from datetime import UTC, datetime

import pandas as pd
from bson import ObjectId
from pymongo import MongoClient
from pymongoarrow.api import Schema, find_pandas_all

OWNER = os.environ.get("OWNER")  # a user name; all users without it
ZONE = os.environ.get("ZONE", "UTC")
FOLLOWING = (1, 2, 3)  # months after that of the first task
this_month = pd.Timestamp.now(ZONE).tz_localize(None).to_period("M")

with MongoClient(os.environ["MONGODB_URI"]) as client:
    views = client.get_default_database("taskapi")
    matching = (
        {"owner_id": views["v_users"].find_one({"username": OWNER})["_id"]} if OWNER else {"owner_id": {"$type": "objectId"}}
    )  # a column has one type
    periods = find_pandas_all(
        views["v_status_periods"],
        {**matching, "from": {"$lte": datetime.now(UTC)}},
        schema=Schema({"owner_id": ObjectId, "from": datetime}),  # only these columns are sent
    )

local = periods["from"].dt.tz_localize("UTC").dt.tz_convert(ZONE).dt.tz_localize(None)
active = pd.DataFrame({"user": periods["owner_id"], "month": local.dt.to_period("M")}).drop_duplicates()
active["cohort"] = active.groupby("user")["month"].transform("min")

table = active.groupby("cohort")["user"].nunique().to_frame("users")
for number in FOLLOWING:
    stayed = active[active["month"] == active["cohort"] + number].groupby("cohort").size()
    share = 100 * stayed.reindex(table.index, fill_value=0) / table["users"]
    table[f"month_{number}"] = share.where(table.index + number <= this_month)
print(table.reset_index().to_string(index=False, na_rep="-", float_format="{:.1f}".format))
