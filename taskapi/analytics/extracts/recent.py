"""The latest changes that an extract holds: the next run reads them again, and must not write them again.

Each is a record of 20 bytes, the time and the id of a task, in the order in which tasks are read. Equal records are equal writes,
because ``changed_at`` is later with each write of a task.
"""

from datetime import datetime
from struct import Struct
from typing import Final

from bson import ObjectId
from bson.datetime_ms import DatetimeMS

from taskapi.db.connection import BSON

RECORD: Final = Struct(">Q12s")
OFFSET: Final = 2**63  # so that times before 1970 are in order


def record_of(task: BSON) -> bytes | None:
    """The record of a stored task; None for a time or an id of another type."""
    at, task_id = task.get("changed_at"), task["_id"]
    if not isinstance(at, datetime | DatetimeMS) or not isinstance(task_id, ObjectId):
        return None
    return RECORD.pack(int(at if isinstance(at, DatetimeMS) else DatetimeMS(at)) + OFFSET, task_id.binary)


class Known:
    """The records of former runs, compared with tasks in the same order."""

    def __init__(self, records: bytes) -> None:
        self._records, self._place = records, 0

    def __contains__(self, record: bytes) -> bool:
        size, records = RECORD.size, self._records
        while (found := records[self._place : self._place + size]) and found < record:
            self._place += size
        return found == record


class Recent:
    """The records that the next run needs: those from a time on, or from the time of the last one if that is earlier."""

    def __init__(self, since: datetime) -> None:
        self._from = RECORD.pack(int(DatetimeMS(since)) + OFFSET, bytes(12))[:8]
        self._records = bytearray()

    def add(self, record: bytes) -> None:
        if self._records and self._records[:8] < min(record[:8], self._from):
            self._records.clear()
        self._records += record

    @property
    def records(self) -> bytes:
        return bytes(self._records)
