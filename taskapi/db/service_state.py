"""The state that the service stores about itself: which secret signs, whether a restore is incomplete, who has a lease."""

import logging
from datetime import datetime
from typing import ClassVar

from beanie import Document, PydanticObjectId

from taskapi.core.clock import utc_now
from taskapi.core.errors import StartupError
from taskapi.core.fields import omittable
from taskapi.core.keys import Keyring
from taskapi.db.connection import Database
from taskapi.db.indexes import Index

log = logging.getLogger(__name__)

SIGNING_KEY, RESTORE, MIGRATION, REFRESH, WEBHOOKS = "signing_key", "restore", "migration", "refresh", "webhooks"
OTHER_KEY = (
    "the secret key has changed: sessions signed with the previous one (fingerprint %s) have ended, and second factors created "
    "with it cannot be checked; to keep them, set TASKAPI_SECRET_KEYS to both keys, the current one first"
)


class ServiceStateDocument(Document):
    """State of the service itself, one document for each name."""

    id: str  # type: ignore[assignment]
    """``signing_key``; ``restore`` while ``taskapi restore`` fills the database; ``migration`` while a process applies
    migrations; ``refresh`` since a process has computed the daily figures; ``webhooks`` while there are webhooks."""
    since: datetime
    """Since when."""
    fingerprint: str = omittable()
    """In ``signing_key`` only: identifies the secret that signs, without revealing it."""
    leased_until: datetime = omittable()
    """In ``migration``, ``refresh`` and ``webhooks`` only: until when that process keeps others out."""
    holder: PydanticObjectId | None = None
    """In ``migration``, ``refresh`` and ``webhooks`` only: identifies that lease."""
    place: str = omittable()
    """In ``webhooks`` only: the place in MongoDB's change stream up to which there are deliveries: a resume token, or a time in
    seconds and an ordinal with a dot between them. Behind ``@`` is the UUID of ``tasks``, which a restore changes."""
    generation: int = omittable()
    """In ``webhooks`` only: incremented whenever a webhook is created, enabled or changed."""

    class Settings:
        name = "service_state"
        is_internal = True
        indexes: ClassVar[list[Index]] = []


class ServiceStateRepository:
    """Reads and writes the entries."""

    def __init__(self, database: Database) -> None:
        self._states = database.collection(ServiceStateDocument)

    async def require_complete(self) -> None:
        """Raises StartupError if a restore of this database is incomplete; the message says what to do."""
        if await self._states.find_one({"_id": RESTORE}):
            name = self._states.database.name
            raise StartupError(
                f"the database {name} is only partly restored: a restore is running or was interrupted; "
                f"to start over: taskapi restore FILE --drop {name}"
            )

    async def check(self, keys: Keyring) -> None:
        """Stores which secret signs. Logs a warning if ``keys`` lack the previous one: what it signed is no longer valid."""
        current, *_ = known = keys.fingerprints()
        stored = await self._states.find_one({"_id": SIGNING_KEY}) or {}
        if stored.get("fingerprint") == current:
            return
        note = {"$set": {"fingerprint": current, "since": utc_now()}}
        # Of several workers that start at once, only the first finds the previous value and logs the warning.
        before = await self._states.find_one_and_update({"_id": SIGNING_KEY}, note, upsert=True)
        last = (before or {}).get("fingerprint")
        if last and last not in known:
            log.warning(OTHER_KEY, last)
