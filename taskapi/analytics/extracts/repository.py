"""Reads what an extract holds, in the order in which tasks have changed."""

from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Final

from bson.codec_options import CodecOptions
from pymongo import ASCENDING
from pymongo.client_session import ClientSession
from pymongo.collection import Collection as SyncCollection
from pymongo.database import Database
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

from taskapi.accounts.users.documents import UserDocument
from taskapi.core.errors import StartupError
from taskapi.db.codes import SNAPSHOT_LOST
from taskapi.db.connection import BSON, CODEC
from taskapi.db.transactions import is_standalone
from taskapi.tasks.storage.documents import TaskDocument

BATCH: Final = 500
Order = list[tuple[str, int]]

BY_ID: Final[Order] = [("_id", ASCENDING)]
ORDER: Final[Order] = [("changed_at", ASCENDING), *BY_ID]
USER_FIELDS: Final = (
    "username",
    "created_at",
    "updated_at",
    "disabled",
    "role",
    "two_factor",
    "email",
    "email_verified",
    "leaving.due_at",
)


class ExtractRepository:
    """The tasks and users of a database, as of one moment.

    MongoDB keeps a snapshot for five minutes. A slower run gets the rest from a later one, and misses nothing: a task that has
    changed in between comes later in the order.
    """

    def __init__(self, database: "Database[BSON]") -> None:
        options: CodecOptions[Any] = CODEC
        self._database = database.with_options(codec_options=options)
        self._tasks = self._database[TaskDocument.Settings.name]
        self._users = self._database[UserDocument.Settings.name]
        self._session: ClientSession | None = None

    def database_id(self) -> str:
        """An id that is another one after a restore. Raises StartupError."""
        for found in self._database.list_collections(filter={"name": self._tasks.name}):
            return bytes(found["info"]["uuid"]).hex()
        raise StartupError(f"the database {self._database.name} has no tasks yet; start the API there once")

    def settled_time(self) -> datetime:
        """A time, in UTC: what was committed until then is in all that is read afterwards."""
        client = self._database.client
        with client.start_session(causal_consistency=True) as session:
            hello = self._database.command("hello", session=session)
            # A standalone server has only its clock.
            time = session.operation_time.as_datetime() if session.operation_time else hello["localTime"].replace(tzinfo=UTC)
            # A snapshot is of the latest time that a majority has, which this read makes no earlier than that.
            self._tasks.with_options(read_concern=ReadConcern("majority")).find_one({}, {"_id": 1}, session=session)
        self._begin_snapshot()
        return time

    def count(self, matching: BSON) -> int:
        """About how many tasks will be read."""
        return self._tasks.count_documents(matching) if matching else self._tasks.estimated_document_count()

    def tasks(self, matching: BSON, hidden: Collection[str]) -> Iterator[list[BSON]]:
        """The matching tasks in batches, in the order of ``changed_at`` and ``_id``, without the fields ``hidden``."""
        return self._batches(self._tasks, matching, dict.fromkeys(hidden, 0), ORDER, after)

    def users(self) -> Iterator[list[BSON]]:
        """All users in batches, in the order of their ids."""
        fields = dict.fromkeys(USER_FIELDS, 1)
        return self._batches(self._users, {}, fields, BY_ID, lambda last: {"_id": {"$not": {"$lte": last["_id"]}}})

    def _batches(
        self, source: "SyncCollection[BSON]", matching: BSON, fields: BSON, order: Order, after: Callable[[BSON], BSON]
    ) -> Iterator[list[BSON]]:
        place: BSON = {}
        began_anew = False
        while True:
            last: BSON | None = None
            found = source.find({**matching, **place}, fields, session=self._session, sort=order, batch_size=BATCH)
            try:
                with closing(found):
                    while batch := found.to_list(BATCH):
                        last = batch[-1]
                        yield batch
                return
            except OperationFailure as error:
                if error.code not in SNAPSHOT_LOST or (last is None and began_anew):
                    raise
                place = place if last is None else after(last)
                began_anew = True
                self._begin_snapshot()

    def close(self) -> None:
        """Ends the snapshot."""
        if self._session is not None:
            self._session.end_session()
            self._session = None

    def _begin_snapshot(self) -> None:
        self.close()
        client = self._database.client
        if not is_standalone(client):
            self._session = client.start_session(snapshot=True)


def after(task: BSON) -> BSON:
    """The filter of the tasks after one in the order. What is no time may come again: it is at both ends of the order."""
    at, task_id = task.get("changed_at"), task["_id"]
    if not isinstance(at, datetime):
        return {}
    return {"$or": [{"changed_at": {"$not": {"$lte": at}}}, {"changed_at": at, "_id": {"$not": {"$lte": task_id}}}]}
