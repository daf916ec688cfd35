"""Burndown: how many tasks were open at the end of each of 14 days?

Unit: tasks that existed and were not done; one that is reopened is open again. Days are those of the time zone ZONE (default
UTC); the last one is LAST_DAY (default today, which is not over). Deleted tasks do not count. Reads v_status_periods.

Without OWNER, it reads the tasks of all users, which takes long if they have many: days_burndown.py does not.

    MONGODB_URI=mongodb://… OWNER=ada ZONE=Europe/Berlin python examples/pandas_burndown.py
"""

import os
from datetime import UTC, datetime

import pandas as pd
from pymongo import MongoClient
from pymongoarrow.api import Schema, find_pandas_all

OWNER = os.environ.get("OWNER")  # a user name; all users without it
ZONE = os.environ.get("ZONE", "UTC")
LAST_DAY = os.environ.get("LAST_DAY") or pd.Timestamp.now(ZONE).strftime("%Y-%m-%d")
DAYS = pd.date_range(end=LAST_DAY, periods=14)

with MongoClient(os.environ["MONGODB_URI"]) as client:
    views = client.get_default_database("taskapi")
    matching = {"owner_id": views["v_users"].find_one({"username": OWNER})["_id"]} if OWNER else {}
    periods = find_pandas_all(
        views["v_status_periods"],
        {**matching, "status": {"$in": ["todo", "in_progress"]}, "from": {"$lte": datetime.now(UTC)}},
        schema=Schema({"from": datetime, "until": datetime}),  # only these columns are sent
    )

for name in ("from", "until"):  # the day of each in the time zone; none where a period has not ended
    periods[name] = periods[name].dt.tz_localize("UTC").dt.tz_convert(ZONE).dt.tz_localize(None).dt.normalize()
began = [(periods["from"] <= day).sum() for day in DAYS]
ended = [(periods["until"] <= day).sum() for day in DAYS]
table = pd.DataFrame({"day": DAYS.strftime("%Y-%m-%d"), "open": pd.Series(began) - pd.Series(ended)})
print(table.to_string(index=False))
