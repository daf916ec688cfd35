"""Reads the tasks, and stores their daily figures."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, Final

from bson import ObjectId
from bson.codec_options import CodecOptions
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, PyMongoError
from pymongo.read_concern import ReadConcern

from taskapi.accounts.users.documents import UserDocument
from taskapi.analytics.daily import pipelines
from taskapi.analytics.daily.documents import TaskDayDocument
from taskapi.analytics.daily.views import DAYS
from taskapi.core.clock import in_utc, utc_now
from taskapi.core.errors import StartupError
from taskapi.db.connection import BSON, CODEC
from taskapi.db.leases import LeasePolicy
from taskapi.db.migrations.startup import COMMAND
from taskapi.db.service_state import REFRESH, ServiceStateDocument
from taskapi.tasks.storage.documents import TaskDocument

BATCH_SECONDS: Final = 540  # for one command
LEASE: Final = LeasePolicy(timedelta(seconds=600), until="leased_until", holder="holder")  # longer than a command
BUSY: Final = "another refresh is running, or one was killed less than ten minutes ago"


class DailyRepository:
    """The daily figures of a database."""

    def __init__(self, database: "Database[BSON]") -> None:
        options: CodecOptions[Any] = CODEC
        self._database = database.with_options(codec_options=options, read_concern=ReadConcern("majority"))
        self._states = self._database[ServiceStateDocument.Settings.name]

    def require_views(self) -> None:
        """Raises StartupError if the database is not ready for daily figures."""
        if not self._database.list_collection_names(filter={"name": DAYS.name}):
            raise StartupError(f"the database {self._database.name} has no view {DAYS.name}; to create it: {COMMAND}")

    @contextmanager
    def leased(self) -> Iterator["Refresh"]:
        """Keeps other refreshes out during the block. Raises StartupError if one is running."""
        now = utc_now()
        lease = LEASE.begin(REFRESH, now)
        try:
            self._states.update_one({"_id": REFRESH, **LEASE.free(now)}, {"$set": {**lease.values, "since": now}}, upsert=True)
        except DuplicateKeyError:
            raise StartupError(BUSY) from None
        try:
            with self._database.client.start_session(causal_consistency=True) as session:
                yield Refresh(self._database, session, lease.mine)
        finally:
            with suppress(PyMongoError):  # it ends by itself
                self._states.update_one(lease.mine, {"$set": {"leased_until": utc_now(), "holder": None}})


class Refresh:
    """A run, which sees all that was committed until ``time``."""

    def __init__(self, database: "Database[BSON]", session: ClientSession, lease: BSON) -> None:
        self._database, self._session, self._lease = database, session, lease
        self._tasks = database[TaskDocument.Settings.name]
        self._days = database[TaskDayDocument.Settings.name]
        # To the millisecond, unlike the time of the operation: each run has another one.
        self.time: datetime = in_utc(database.command("hello", session=session)["localTime"])

    def refreshed_at(self) -> datetime | None:
        """Until when all writes are counted; None if nothing is."""
        oldest = self._days.find_one({"owner_id": None}, sort=[("refreshed_at", 1)], session=self._session)
        return in_utc(oldest["refreshed_at"]) if oldest else None

    def owners_since(self, since: datetime) -> list[ObjectId]:
        """The owners of tasks that have changed since then, or of which it is not known."""
        return self._owners_in(self._tasks.name, {"changed_at": {"$not": {"$lt": since}}})

    def all_owners(self) -> list[ObjectId]:
        """The owners of all tasks and of all figures."""
        return sorted({*self._owners_in(self._tasks.name, {}), *self._owners_in(self._days.name, {})})

    def replace(self, owners: Sequence[ObjectId]) -> None:
        """Counts the tasks of these owners anew."""
        self._renew()
        self._run(*pipelines.of_owners(owners, self.time))
        self._remove_older({"$in": list(owners)})

    def remove_erased(self) -> None:
        """Removes the figures of accounts that are erased: one may have been while its tasks were counted."""
        users = {"from": UserDocument.Settings.name, "localField": "_id", "foreignField": "_id", "as": "users"}
        stages: list[BSON] = [
            {"$group": {"_id": "$owner_id"}},
            {"$lookup": users},
            {"$match": {"_id": {"$ne": None}, "users": []}},
        ]
        gone = [each["_id"] for each in self._run(self._days.name, stages)]
        self._days.delete_many({"owner_id": {"$in": gone}}, session=self._session)

    def sum_up(self) -> None:
        """Sums up the figures of all owners. From then on, all writes until ``time`` are counted."""
        self._renew()
        self._run(self._days.name, pipelines.of_all(self.time))
        self._remove_older(None)

    def _owners_in(self, name: str, matching: BSON) -> list[ObjectId]:
        stages = [
            {"$match": {**matching, "owner_id": {"$type": "objectId"}}},
            {"$group": {"_id": "$owner_id"}},
            {"$sort": {"_id": 1}},
        ]
        return [each["_id"] for each in self._run(name, stages)]

    def _remove_older(self, owner: Any) -> None:
        """Removes days on which nothing is left."""
        self._days.delete_many({"owner_id": owner, "refreshed_at": {"$lt": self.time}}, session=self._session)

    def _run(self, name: str, stages: list[BSON]) -> list[BSON]:
        found = self._database[name].aggregate(stages, session=self._session, allowDiskUse=True, maxTimeMS=BATCH_SECONDS * 1000)
        return list(found)

    def _renew(self) -> None:
        """Raises StartupError if another run has begun."""
        until = utc_now() + LEASE.duration
        states = self._database[ServiceStateDocument.Settings.name]
        if not states.update_one(self._lease, {"$set": {"leased_until": until}}).matched_count:
            raise StartupError("another refresh has taken over, because this one was stopped for ten minutes")
