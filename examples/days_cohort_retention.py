"""Cohort retention: of the users whose first task is of a month, which share is still active in the following months?

A user is active in a month if they created a task in it or changed the status of one. Unit: percent of the cohort; a dash stands
for a month that has not begun. Months are in UTC. Deleted tasks do not count. Reads v_task_days, as of the last taskapi analytics
refresh.

    taskapi analytics refresh
    MONGODB_URI=mongodb://… python examples/days_cohort_retention.py
"""

import os
from collections import defaultdict
from datetime import UTC, datetime

from pymongo import MongoClient

FOLLOWING = (1, 2, 3)  # months after that of the first task
this_month = f"{datetime.now(UTC):%Y-%m}"

month = {"$dateToString": {"date": "$day", "format": "%Y-%m"}}
pipeline = [
    {"$match": {"monthly_active": 1, "day": {"$lte": datetime.now(UTC)}}},
    {"$group": {"_id": "$owner_id", "months": {"$addToSet": month}}},
]

cohorts = defaultdict(list)
with MongoClient(os.environ["MONGODB_URI"]) as client:
    for user in client.get_default_database("taskapi")["v_task_days"].aggregate(pipeline):
        cohorts[min(user["months"])].append(user["months"])


def later(month, number):
    year, index = divmod(int(month[:4]) * 12 + int(month[5:]) - 1 + number, 12)
    return f"{year:04}-{index + 1:02}"


print(f"{'cohort':<7}  {'users':>6}" + "".join(f"  {f'month_{number}':>7}" for number in FOLLOWING))
for cohort, users in sorted(cohorts.items()):
    line = f"{cohort:<7}  {len(users):>6}"
    for month in (later(cohort, number) for number in FOLLOWING):
        share = 100 * sum(month in months for months in users) / len(users)
        line += f"  {f'{share:.1f}' if month <= this_month else '-':>7}"
    print(line)
