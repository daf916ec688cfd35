"""Asks MongoDB for the figures of a report.

All queries read the views; what comes back is small, however many tasks there are.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from bson import ObjectId
from bson.codec_options import CodecOptions
from pymongo import ReadPreference
from pymongo.database import Database
from pymongo.errors import OperationFailure

from taskapi.accounts.users.views import USERS
from taskapi.analytics.daily.views import DAYS
from taskapi.core.errors import StartupError
from taskapi.db.codes import MAX_TIME_EXPIRED
from taskapi.db.connection import BSON, CODEC
from taskapi.db.indexes import MIGRATE
from taskapi.stats.durations import between
from taskapi.stats.expressions import IS_DONE, PRIORITY, STATUS, count_not_after, is_date, number_of
from taskapi.stats.schemas import DURATION_LIMITS
from taskapi.tasks.schemas import Status
from taskapi.tasks.storage.views.changes import TASK_CHANGES
from taskapi.tasks.storage.views.status_periods import STATUS_PERIODS
from taskapi.tasks.storage.views.task_tags import TASK_TAGS
from taskapi.tasks.storage.views.tasks import TASKS

QUERY_SECONDS: Final = 900
MAX_TAGS: Final = 15
SECOND: Final = 1000  # milliseconds
LEAD_TIME: Final = between("$created_at", "$completed_at")
DERIVED: Final = ("completed", "completed_at", "progress")  # which change with the status or the checklist
MAX_OWNERS: Final = 10_000  # in one condition


class Place(NamedTuple):
    """A task by its place, from 0, in the order of those that took ``low`` seconds or more, but less than ``high``."""

    low: int
    high: int | None
    place: int


class ReportRepository:
    """Reads the views of a database: from a secondary if there is one, in bounded memory and time."""

    def __init__(self, database: "Database[BSON]") -> None:
        options: CodecOptions[Any] = CODEC
        self._database = database.with_options(codec_options=options, read_preference=ReadPreference.SECONDARY_PREFERRED)

    def require_views(self) -> None:
        """Raises StartupError if a view is missing, or may not be read."""
        self._require(TASKS.name, STATUS_PERIODS.name, TASK_CHANGES.name, TASK_TAGS.name)

    def _require(self, *wanted: str) -> None:
        found = self._database.list_collection_names(filter={"name": {"$in": list(wanted)}}, authorizedCollections=True)
        if missing := sorted(set(wanted) - set(found)):
            lack = f"the database {self._database.name} has no view {missing[0]} that this MongoDB user can read"
            raise StartupError(f"{lack}; to create it: {MIGRATE}")

    def find_owner(self, name: str) -> tuple[ObjectId, str]:
        """The id and the name of the account that is called ``name``, in any case. Raises StartupError."""
        is_text = {"$eq": [{"$type": "$username"}, "string"]}
        lower = {"$cond": [is_text, {"$toLower": "$username"}, None]}
        found = self._ask(USERS.name, [{"$match": {"$expr": {"$eq": [lower, {"$literal": name.lower()}]}}}, {"$limit": 1}])
        if not found:
            raise StartupError(f"there is no account with the user name {name!r} in the database {self._database.name}")
        return found[0]["_id"], found[0]["username"]

    def count_tasks(self, owner: BSON, limits: Sequence[datetime], today: datetime) -> list[BSON]:
        """How many tasks share a status, a priority, whether they are overdue, and the weeks of their creation and completion."""
        is_overdue = {"$and": [{"$not": [IS_DONE]}, is_date("$due_date"), {"$lt": ["$due_date", today]}]}
        key = {
            "status": STATUS,
            "overdue": is_overdue,
            "priority": PRIORITY,
            "created": number_of("$created_at", limits),
            "completed": number_of("$completed_at", limits),
        }
        return self._ask(TASKS.name, [{"$match": owner}, {"$group": {"_id": key, "tasks": {"$sum": 1}}}])

    def count_periods(self, owner: BSON, limits: Sequence[datetime]) -> list[BSON]:
        """How many periods of a status share it, and the weeks in which they begin and end."""
        is_recent = {"$or": [{"until": None}, {"until": {"$gte": limits[0]}}]}
        key = {"status": STATUS, "from": number_of("$from", limits), "until": number_of("$until", limits)}
        stages: list[BSON] = [{"$match": {**owner, **is_recent}}, {"$group": {"_id": key, "tasks": {"$sum": 1}}}]
        return self._ask(STATUS_PERIODS.name, stages)

    def count_lead_times(self, owner: BSON, start: datetime, end: datetime) -> list[BSON]:
        """How many tasks that were completed between two times are in each class of duration."""
        number = count_not_after("$took", [limit * SECOND for limit in DURATION_LIMITS])
        return self._ask(TASKS.name, [*_lead_times(owner, start, end), {"$group": {"_id": number, "tasks": {"$sum": 1}}}])

    def find_lead_times(self, owner: BSON, start: datetime, end: datetime, places: Sequence[Place]) -> list[int]:
        """The milliseconds at each of ``places``; the least of its class if tasks have been deleted meanwhile."""
        facets: BSON = {}
        for number, (low, high, place) in enumerate(places):
            within = {"$gte": low * SECOND, **({} if high is None else {"$lt": high * SECOND})}
            facets[str(number)] = [{"$match": {"took": within}}, {"$sort": {"took": 1}}, {"$skip": place}, {"$limit": 1}]
        (found,) = self._ask(TASKS.name, [*_lead_times(owner, start, end), {"$facet": facets}])
        first = [found[str(number)] for number in range(len(places))]
        return [int(each[0]["took"]) if each else place.low * SECOND for each, place in zip(first, places, strict=True)]

    def count_overdue_tags(self, owner: BSON, today: datetime) -> list[BSON]:
        """The tags of overdue tasks: how many have each, most first; null for those without a tag."""
        overdue = {**(owner or self._of_all_users()), "status": {"$ne": Status.done}, "due_date": {"$lt": today}}
        stages: list[BSON] = [
            {"$match": overdue},
            {"$group": {"_id": "$tag", "tasks": {"$sum": 1}}},
            {"$match": {"$expr": {"$in": [{"$type": "$_id"}, ["string", "null"]]}}},
            {"$sort": {"tasks": -1, "_id": 1}},
            {"$limit": MAX_TAGS},
        ]
        return self._ask(TASK_TAGS.name, stages)

    def count_changed_fields(self, owner: BSON, start: datetime, end: datetime) -> list[BSON]:
        """How often each field was changed between two times, most often first."""
        changes = {**owner, "at": {"$gte": start, "$lt": end}, "field": {"$nin": [None, *DERIVED]}, "in_trash": False}
        if not owner:  # by an index; an owner has a better one
            changes["task_changed_at"] = {"$gte": start}
        stages: list[BSON] = [
            {"$match": changes},
            {"$group": {"_id": "$field", "changes": {"$sum": 1}}},
            {"$sort": {"changes": -1, "_id": 1}},
        ]
        return self._ask(TASK_CHANGES.name, stages)

    def find_days(self) -> list[BSON]:
        """The daily figures of all users. Raises StartupError if a view is missing, or may not be read."""
        self._require(DAYS.name, TASK_TAGS.name)
        return self._ask(DAYS.name, [{"$project": {"cycle_hours": 0}}])

    def _of_all_users(self) -> BSON:
        """A condition that the tasks of all users meet, so that an index serves others as well; none for very many users."""
        found = self._ask(USERS.name, [{"$project": {"_id": 1}}, {"$limit": MAX_OWNERS + 1}])
        return {} if len(found) > MAX_OWNERS else {"owner_id": {"$in": [each["_id"] for each in found]}}

    def _ask(self, view: str, stages: list[BSON]) -> list[BSON]:
        try:
            return list(self._database[view].aggregate(stages, allowDiskUse=True, maxTimeMS=QUERY_SECONDS * 1000))
        except OperationFailure as error:
            if error.code != MAX_TIME_EXPIRED:
                raise
            raise StartupError(f"a query took more than {QUERY_SECONDS} s; --daily, --owner or fewer --weeks is faster") from None


def _lead_times(owner: BSON, start: datetime, end: datetime) -> list[BSON]:
    within = {**owner, "completed_at": {"$gte": start, "$lt": end}}
    return [{"$match": within}, {"$project": {"_id": 0, "took": LEAD_TIME}}, {"$match": {"took": {"$gte": 0}}}]
