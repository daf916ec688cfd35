"""The daily figures of one account."""

from bson import ObjectId

from taskapi.analytics.daily.documents import TaskDayDocument
from taskapi.db.batches import delete_all
from taskapi.db.connection import Database


class TaskDayRepository:
    """Deletes the daily figures of an account with the account."""

    def __init__(self, database: Database) -> None:
        self._days = database.collection(TaskDayDocument)

    async def delete_for_user(self, user: ObjectId) -> None:
        """Deletes the figures of a user. Those of all users count the user's tasks until the next refresh."""
        await delete_all(self._days, {"owner_id": user})
