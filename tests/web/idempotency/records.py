"""What the tests see and change of stored keys."""

from datetime import timedelta
from typing import Any

from bson import ObjectId

from taskapi.core.clock import utc_now
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.web.idempotency.documents import IdempotencyDocument
from tests.stored import collection

KEY = "3f1c-key"
KEYED = {"Idempotency-Key": KEY}


async def the_record() -> dict[str, Any]:
    """The only record there is."""
    (record,) = await collection(IdempotencyDocument).find().to_list(None)
    return dict(record)


async def records() -> int:
    return await collection(IdempotencyDocument).count_documents({})


async def tasks() -> int:
    return await collection(TaskDocument).count_documents({})


async def change_record(**changes: Any) -> None:
    result = await collection(IdempotencyDocument).update_one({}, {"$set": changes})
    assert result.matched_count == 1


async def forget_answer(lease: timedelta = timedelta(seconds=-1)) -> None:
    """Leaves the record as a process does that is killed between the write and the record."""
    await change_record(status=None, headers=None, body=None, holder=ObjectId(), locked_until=utc_now() + lease)
