"""The events of one account: their export, and their deletion with the account."""

from collections.abc import AsyncGenerator

from bson import ObjectId
from pymongo import ASCENDING

from taskapi.audit.documents import GONE, SecurityEventDocument
from taskapi.audit.queries import PUBLIC, SOURCE, for_owner
from taskapi.audit.schemas import SecurityEventRead
from taskapi.db import damaged
from taskapi.db.batches import delete_all
from taskapi.db.connection import BSON, collection
from taskapi.db.snapshots import stream_batches
from taskapi.web.streaming import rendered

OLDEST = {"at": ASCENDING, "_id": ASCENDING}
BATCH = 1000


def export_events(user: ObjectId) -> AsyncGenerator[str, None]:
    """The events of ``user``, oldest first, each as JSON."""

    def stages(last: BSON | None) -> list[BSON]:
        theirs: BSON = {"user": user}
        if last:
            at, event_id = last["at"], last["_id"]
            theirs["$or"] = [{"at": {"$gt": at}}, {"at": at, "_id": {"$gt": event_id}}]
        return [{"$match": theirs}, {"$sort": OLDEST}, {"$project": PUBLIC}]

    return rendered(stream_batches(collection(SecurityEventDocument), stages, BATCH), _line)


def _line(event: BSON) -> list[str]:
    return [for_owner(damaged.read(SecurityEventRead, event, SOURCE)).model_dump_json()]


async def delete_for_user(user: ObjectId) -> None:
    """Deletes the events of ``user``, and makes what they did to other accounts anonymous."""
    await delete_all(collection(SecurityEventDocument), {"user": user})
    anonymous = {"by": GONE, "address": "", "agent": ""}
    await collection(SecurityEventDocument).update_many({"by": user}, {"$set": anonymous})
