"""The daily figures of one account."""

from bson import ObjectId

from taskapi.analytics.daily.documents import COUNTED, LISTED, TaskDayDocument
from taskapi.db.batches import delete_all
from taskapi.db.connection import BSON, Database

NOTHING = {**dict.fromkeys(COUNTED, 0), **{name: [] for name in LISTED}}


class TaskDayRepository:
    """Deletes the daily figures of an account with the account."""

    def __init__(self, database: Database) -> None:
        self._days = database.collection(TaskDayDocument)

    async def delete_for_user(self, user: ObjectId) -> None:
        """Deletes the figures of a user. Those of all users count the user's tasks until the next refresh.

        First they become nothing, then the sums are marked: a refresh that summed them up before finds the mark, and one that
        does afterwards finds nothing.
        """
        await delete_all(self._days, {"owner_id": user}, before=self._take_out)

    async def _take_out(self, ids: list[BSON]) -> None:
        await self._days.update_many({"_id": {"$in": ids}}, {"$set": NOTHING})
        sums = {"owner_id": None, "day": {"$in": [each["day"] for each in ids]}}
        await self._days.update_many(sums, {"$set": {"stale": ObjectId()}})
