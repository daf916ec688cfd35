"""What the service stores about itself: which secret signs, and whether a restore is complete."""

import logging
from datetime import datetime
from typing import ClassVar

from beanie import Document
from pymongo import IndexModel

from taskapi.core.clock import utc_now
from taskapi.core.errors import StartupError
from taskapi.core.keys import Keyring
from taskapi.db.connection import Database

log = logging.getLogger(__name__)

SIGNING_KEY, RESTORE = "signing_key", "restore"
OTHER_KEY = (
    "the secret key has changed: sessions signed with the last one (fingerprint %s) have ended, and second factors made with it "
    "cannot be checked; to keep them set TASKAPI_SECRET_KEYS to both, the current one first"
)


class ServiceStateDocument(Document):
    """One entry, under its name."""

    id: str  # type: ignore[assignment]
    since: datetime
    fingerprint: str | None = None  # of the secret that signs

    class Settings:
        name = "service_state"
        indexes: ClassVar[list[IndexModel]] = []


class ServiceStateRepository:
    """The entries that the service stores about itself."""

    def __init__(self, database: Database) -> None:
        self._states = database.collection(ServiceStateDocument)

    async def check(self, keys: Keyring) -> None:
        """Stores which secret signs, and logs when the last one is not among ``keys``: what it signed has ended.

        Raises:
            StartupError: a restore of this database has begun and not ended; says what to do.
        """
        found = {state["_id"]: state async for state in self._states.find({})}
        if RESTORE in found:
            name = self._states.database.name
            raise StartupError(
                f"the database {name} is half restored: a restore is under way, or was interrupted; "
                f"to begin it again: taskapi restore FILE --drop {name}"
            )
        current, *_ = known = keys.fingerprints()
        if found.get(SIGNING_KEY, {}).get("fingerprint") == current:
            return
        note = {"$set": {"fingerprint": current, "since": utc_now()}}
        # Of many workers that start at once, the first meets what was there before, and says so.
        before = await self._states.find_one_and_update({"_id": SIGNING_KEY}, note, upsert=True)
        last = (before or {}).get("fingerprint")
        if last and last not in known:
            log.warning(OTHER_KEY, last)
