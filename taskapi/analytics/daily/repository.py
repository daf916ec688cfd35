"""Reads the tasks, and stores their daily figures.

Figures that have not changed are not written again. The sums of all users hold what changes by a mark: before the figures of a
user are written, the sums of their days are marked as stale, and a day without a sum needs none. So what a killed run has left to
be summed up is found by the next one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

import pymongo
from bson import ObjectId
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import DeleteOne, ReplaceOne
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import BulkWriteError
from pymongo.read_concern import ReadConcern

from taskapi.accounts.users.documents import UserDocument
from taskapi.analytics.daily import pipelines
from taskapi.analytics.daily.documents import TaskDayDocument
from taskapi.analytics.daily.lease import WRITE_SECONDS, RefreshLease, leased
from taskapi.analytics.daily.views import DAYS
from taskapi.core.clock import in_utc
from taskapi.core.errors import StartupError
from taskapi.db.codes import DUPLICATE_KEY
from taskapi.db.connection import BSON, CODEC
from taskapi.db.indexes import MIGRATE
from taskapi.tasks.storage.documents import TaskDocument

BATCH_SECONDS: Final = 540  # for one query
BATCH_DAYS: Final = 50
BATCH_WRITES: Final = 1000
Write = ReplaceOne[RawBSONDocument] | DeleteOne


class DailyRepository:
    """The daily figures of a database."""

    def __init__(self, database: "Database[BSON]") -> None:
        options: CodecOptions[Any] = CODEC
        self._database = database.with_options(codec_options=options, read_concern=ReadConcern("majority"))

    def require_views(self) -> None:
        """Raises StartupError if the database is not ready for daily figures."""
        if not self._database.list_collection_names(filter={"name": DAYS.name}):
            raise StartupError(f"the database {self._database.name} has no view {DAYS.name}; to create it: {MIGRATE}")

    @contextmanager
    def leased(self) -> Iterator["Refresh"]:
        """Keeps other refreshes out during the block. Raises StartupError if one is running."""
        with leased(self._database) as lease, self._database.client.start_session(causal_consistency=True) as session:
            yield Refresh(self._database, session, lease)


class Refresh:
    """A run, which sees all that was committed until ``time``."""

    def __init__(self, database: "Database[BSON]", session: ClientSession, lease: RefreshLease) -> None:
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
        """Counts the tasks of these owners anew, and writes the figures of the days that differ."""
        counted = self._rows(*pipelines.of_owners(owners, self.time))
        stored = self._rows(
            self._days.name, [{"$match": {"owner_id": {"$in": list(owners)}}}, {"$set": {"refreshed_at": self.time}}]
        )
        changed = {key: row for key, row in counted.items() if stored.get(key) != row}
        gone = {key: row for key, row in stored.items() if key not in counted}
        self._mark({row["day"] for row in (*changed.values(), *gone.values())})
        self._write(ReplaceOne({"_id": row["_id"]}, row, upsert=True) for row in changed.values())
        self._write(DeleteOne({"_id": row["_id"]}) for row in gone.values())

    def remove_erased(self) -> None:
        """Removes the figures of accounts that are erased: one may have been while its tasks were counted."""
        users = {"from": UserDocument.Settings.name, "localField": "_id", "foreignField": "_id", "as": "users"}
        stages: list[BSON] = [
            {"$group": {"_id": "$owner_id"}},
            {"$lookup": users},
            {"$match": {"_id": {"$ne": None}, "users": []}},
        ]
        for owner in self._run(self._days.name, stages):
            stored = self._rows(self._days.name, [{"$match": {"owner_id": owner["_id"]}}])
            self._mark({row["day"] for row in stored.values()})
            self._write(DeleteOne({"_id": row["_id"]}) for row in stored.values())

    def mark_all(self) -> None:
        """Has all days summed up anew."""
        self._mark(self._summed({}))

    def sum_up(self) -> None:
        """Sums up the days that have changed, of all owners. From then on, all writes until ``time`` are counted."""
        while days := self._unsummed():
            for some in _in_batches(days, BATCH_DAYS):
                self._sum({day: days[day] for day in some})
        self._set(self._summed({"refreshed_at": {"$ne": self.time}}), {"refreshed_at": self.time})

    def _owners_in(self, name: str, matching: BSON) -> list[ObjectId]:
        stages = [
            {"$match": {**matching, "owner_id": {"$type": "objectId"}}},
            {"$group": {"_id": "$owner_id"}},
            {"$sort": {"_id": 1}},
        ]
        return [each["_id"] for each in self._run(name, stages)]

    def _unsummed(self) -> dict[datetime, ObjectId | None]:
        """The days whose sums are stale, with their marks, and those that have none."""
        is_stale = {"owner_id": None, "stale": {"$exists": True}}
        stale = self._days.find(is_stale, {"day": 1, "stale": 1}, session=self._session)
        found: dict[datetime, ObjectId | None] = {each["day"]: each["stale"] for each in stale}
        days = [each["_id"] for each in self._run(self._days.name, [{"$group": {"_id": "$day"}}])]
        return found | dict.fromkeys({*days} - self._summed({}))

    def _summed(self, matching: BSON) -> set[datetime]:
        """The days that have matching sums."""
        found = self._days.find({"owner_id": None, **matching}, {"_id": 0, "day": 1}, session=self._session)
        return {each["day"] for each in found}

    def _sum(self, marks: Mapping[datetime, ObjectId | None]) -> None:
        """Writes the sums of days, unless their marks have changed meanwhile: an account has just been erased."""
        summed = self._rows(self._days.name, pipelines.of_all(list(marks), self.time))
        sums = {row["day"]: row for row in summed.values()}
        self._write(ReplaceOne({"_id": row["_id"], "stale": marks[day]}, row, upsert=True) for day, row in sums.items())
        left = ({"_id": {"owner_id": None, "day": day}, "stale": mark} for day, mark in marks.items() if day not in sums)
        self._write(DeleteOne(each) for each in left)

    def _mark(self, days: Iterable[datetime]) -> None:
        self._set(days, {"stale": ObjectId()})

    def _set(self, days: Iterable[datetime], values: BSON) -> None:
        """Sets fields of the sums of these days."""
        for some in _in_batches(sorted(days), BATCH_WRITES):
            self._lease.renew()
            with pymongo.timeout(WRITE_SECONDS):
                self._days.update_many({"owner_id": None, "day": {"$in": some}}, {"$set": values}, session=self._session)

    def _write(self, writes: Iterable[Write]) -> None:
        for some in _in_batches(writes, BATCH_WRITES):
            self._lease.renew()
            try:
                with pymongo.timeout(WRITE_SECONDS):
                    self._days.bulk_write(some, ordered=False, session=self._session)
            except BulkWriteError as error:
                # A sum that has another mark now is there already, so it is not inserted either.
                errors = error.details["writeErrors"]
                if not errors or any(each["code"] != DUPLICATE_KEY for each in errors):
                    raise

    def _rows(self, name: str, stages: list[BSON]) -> dict[bytes, RawBSONDocument]:
        """The days that a pipeline returns, as they are sent, by their ids."""
        raw: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
        return {bytes(row["_id"].raw): row for row in self._run(name, stages, raw)}

    def _run(self, name: str, stages: list[BSON], options: CodecOptions[Any] = CODEC) -> list[Any]:
        source = self._database.get_collection(name, codec_options=options)
        return list(source.aggregate(stages, session=self._session, allowDiskUse=True, maxTimeMS=BATCH_SECONDS * 1000))


def _in_batches(found: Iterable[Any], size: int) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for each in found:
        batch.append(each)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
