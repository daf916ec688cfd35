"""What becomes of the events of somebody who leaves."""

import json
from collections.abc import AsyncGenerator

from bson import ObjectId
from pymongo import ASCENDING

from taskapi.clock import rfc3339
from taskapi.database import BSON, batches, collection, delete_all
from taskapi.events.documents import GONE, SecurityEventDocument
from taskapi.streaming import rendered
from taskapi.users.schemas import UserRead

SHOWN = dict.fromkeys(("at", "kind", "outcome", "by", "address", "agent", "request_id", "details"), 1)
OLDEST = {"at": ASCENDING, "_id": ASCENDING}
BATCH = 1000


def exported(user: UserRead) -> AsyncGenerator[str, None]:
    """The events of ``user``, oldest first, each as JSON."""
    return rendered(batches(SecurityEventDocument, {"user": user.object_id}, SHOWN, OLDEST, BATCH), _line)


def _line(event: BSON) -> list[str]:
    by = event["by"]
    elsewhere = {"by": str(by), "address": "", "agent": ""} if by else {}  # where an admin was is not theirs to know
    shown = {"id": str(event.pop("_id")), **event, "at": rfc3339(event["at"]), **elsewhere}
    return [json.dumps(shown, ensure_ascii=False, separators=(",", ":"))]


async def forget(user: ObjectId) -> None:
    """Deletes the events of ``user``, and takes them out of those of others."""
    await delete_all(SecurityEventDocument, {"user": user})
    nobody = {"by": GONE, "address": "", "agent": ""}
    await collection(SecurityEventDocument).update_many({"by": user}, {"$set": nobody})
