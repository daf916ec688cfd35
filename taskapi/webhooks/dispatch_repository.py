"""The place that the dispatcher of webhooks has reached, and its lease: one document, while there are webhooks."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, NamedTuple, Self

import bson

from taskapi.core.clock import utc_now
from taskapi.db import damaged
from taskapi.db.connection import BSON, Database, Session
from taskapi.db.expressions import integer_or_one
from taskapi.db.leases import Lease, LeasePolicy
from taskapi.db.service_state import WEBHOOKS, ServiceStateDocument

LEASE: Final = LeasePolicy(timedelta(seconds=10), until="leased_until", holder="holder", optional=True)
ONLY: Final[BSON] = {"_id": WEBHOOKS}
NEXT: Final[BSON] = {"generation": {"$add": [{"$mod": [integer_or_one({"$ifNull": ["$generation", 0]}), 2**62]}, 1]}}


class LeaseLost(Exception):
    """Another worker dispatches."""


class Place(NamedTuple):
    """A place in MongoDB's change stream: behind the change with a resume token, or behind everything up to a time.

    One that ``is_elsewhere`` is a place in another database, from which a restore has brought it here.
    """

    token: str | None = None
    time: bson.Timestamp | None = None
    is_elsewhere: bool = False

    @classmethod
    def read(cls, text: str) -> Self:
        """The place that ``write`` has written."""
        seconds, _, number = text.partition(".")
        return cls(time=bson.Timestamp(int(seconds), int(number))) if number else cls(token=text)

    def write(self) -> str:
        """The place as it is stored."""
        return f"{self.time.time}.{self.time.inc}" if self.time else str(self.token)


class DispatchRepository:
    """Says from where on events are to be dispatched, and who does it."""

    def __init__(self, database: Database, read_database_id: Callable[[], Awaitable[bytes]]) -> None:
        self._states = database.collection(ServiceStateDocument)
        self._read_database_id = read_database_id
        self._database_id = ""  # as of the last time that the work was leased or announced

    async def announce(self, time: bson.Timestamp, session: Session | None = None) -> None:
        """Has the dispatcher look which webhooks there are. If none is at work, it begins behind everything up to ``time``."""
        await self._look_where()
        begin = {"since": utc_now(), "place": self._text(Place(time=time))}
        update = {**NEXT, **{name: {"$ifNull": [f"${name}", value]} for name, value in begin.items()}}
        await self._states.update_one(ONLY, [{"$set": update}], upsert=True, session=session)

    async def touch(self) -> None:
        """Has the dispatcher, if there is one, look which webhooks are left."""
        await self._states.update_one(ONLY, [{"$set": NEXT}])

    async def exists(self) -> bool:
        """Whether there is a place to go on from."""
        return await self._states.find_one(ONLY, {"_id": 1}) is not None

    async def take(self) -> tuple[Lease, BSON] | None:
        """Leases the work. None when there is none, or another worker does it."""
        taken = await LEASE.take(self._states, ONLY, {"_id": 1})
        if taken is not None:
            await self._look_where()
        return taken

    def place(self, state: BSON) -> Place:
        """The place in the stored state."""
        text, _, database_id = str(state["place"]).partition("@")
        return Place.read(text)._replace(is_elsewhere=database_id not in ("", self._database_id))

    async def renew(self, lease: Lease) -> int:
        """Renews the lease. Returns a number that differs when webhooks have changed. Raises LeaseLost."""
        found = await lease.renew(self._states, {"generation": 1})
        if found is None:
            raise LeaseLost
        return damaged.integer(found.get("generation") or 0)

    async def save_place(self, lease: Lease, place: Place) -> None:
        """Stores that everything up to a place was dispatched. Raises LeaseLost."""
        if not (await self._states.update_one(lease.mine, {"$set": {"place": self._text(place)}})).matched_count:
            raise LeaseLost

    async def stop(self, lease: Lease, generation: int) -> bool:
        """Ends the work, because there are no webhooks. False when there may be some since ``generation``."""
        return (await self._states.delete_one({**lease.mine, "generation": generation})).deleted_count == 1

    async def release(self, lease: Lease) -> None:
        """Lets another worker go on."""
        await lease.release(self._states)

    async def _look_where(self) -> None:
        self._database_id = (await self._read_database_id()).hex()

    def _text(self, place: Place) -> str:
        return f"{place.write()}@{self._database_id}"
