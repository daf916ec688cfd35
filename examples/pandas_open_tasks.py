"""Open tasks by owner and ISO week of creation: who has how many, and since when?

Unit: tasks. Weeks begin on Monday, in the time zone ZONE (default UTC). Deleted tasks do not count. Reads v_tasks.

Without OWNER, it reads the tasks of all users, which takes long if they have many: days_open_tasks.py does not.

    MONGODB_URI=mongodb://… OWNER=ada ZONE=Europe/Berlin python examples/pandas_open_tasks.py
"""

import os
from datetime import UTC, datetime

from pymongo import MongoClient
from pymongoarrow.api import Schema, find_pandas_all

OWNER = os.environ.get("OWNER")  # a user name; all users without it
ZONE = os.environ.get("ZONE", "UTC")

with MongoClient(os.environ["MONGODB_URI"]) as client:
    views = client.get_default_database("taskapi")
    matching = {"owner_id": views["v_users"].find_one({"username": OWNER})["_id"]} if OWNER else {}
    tasks = find_pandas_all(
        views["v_tasks"],
        {**matching, "status": {"$in": ["todo", "in_progress"]}, "created_at": {"$lte": datetime.now(UTC)}},
        schema=Schema({"owner": str, "created_at": datetime}),  # only these columns are sent
    )

iso = tasks["created_at"].dt.tz_localize("UTC").dt.tz_convert(ZONE).dt.isocalendar().astype(str)
tasks["week"] = iso["year"].str.zfill(4) + "-W" + iso["week"].str.zfill(2)
table = tasks.groupby(["owner", "week"]).size().reset_index(name="open")
print(table.to_string(index=False))
