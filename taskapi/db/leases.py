"""Leases: a worker has exclusive use of a document until a time that is stored in the document.

The lease of a killed worker simply expires, and another worker takes the document.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from bson import ObjectId
from pymongo import ReturnDocument

from taskapi.core.clock import utc_now
from taskapi.db.connection import BSON, Collection

ID_ONLY: BSON = {"_id": 1}


@dataclass(frozen=True, slots=True)
class LeasePolicy:
    """Which fields of a document hold its lease, and how long a lease lasts.

    ``until`` names the field for its end, ``holder`` the field for its id. Without ``holder``, the end identifies the lease,
    which then cannot be renewed. A document without a lease has an end in the past, or none; releasing removes the fields if
    they are ``optional``.
    """

    duration: timedelta
    until: str
    holder: str | None = None
    optional: bool = False

    @property
    def fields(self) -> list[str]:
        """The names of the fields."""
        return [self.until, self.holder] if self.holder else [self.until]

    def begin(self, document_id: Any, now: datetime) -> "Lease":
        """A new lease of a document, to be stored by the write that takes it."""
        values: BSON = {self.until: now + self.duration}
        if self.holder:
            values[self.holder] = ObjectId()
        return Lease(self, document_id, values)

    def free(self, now: datetime) -> BSON:
        """The filter for documents without a lease."""
        return {self.until: {"$not": {"$gt": now}}}

    async def take(
        self,
        collection: Collection,
        due: BSON,
        sort: Mapping[str, int],
        *,
        projection: BSON | None = None,
        also: BSON | None = None,
    ) -> "tuple[Lease, BSON] | None":
        """Leases the first free document that matches ``due``, in the order ``sort``; None if there is none.

        Returns the lease and the document after the update, to which ``also`` adds operators.
        """
        now = utc_now()
        lease = self.begin(None, now)
        found = await collection.find_one_and_update(
            {**due, **self.free(now)},
            {"$set": lease.values, **(also or {})},
            projection,
            sort=list(sort.items()),
            return_document=ReturnDocument.AFTER,
        )
        return (replace(lease, document_id=found["_id"]), found) if found else None


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on one document, until it expires and another worker takes it."""

    policy: LeasePolicy
    document_id: Any
    values: BSON  # the stored fields

    @property
    def mine(self) -> BSON:
        """The filter for the document while this lease is valid."""
        name = self.policy.holder or self.policy.until
        return {"_id": self.document_id, name: self.values[name]}

    async def renew(self, collection: Collection, projection: BSON | None = None) -> BSON | None:
        """Restarts the lease's duration. Returns the fields in ``projection`` (by default the id); None if the lease was lost.

        Raises ValueError for a lease without a holder: its end is what it is known by.
        """
        if self.policy.holder is None:
            raise ValueError("a lease without a holder cannot be renewed")
        until = {self.policy.until: utc_now() + self.policy.duration}
        return await collection.find_one_and_update(self.mine, {"$set": until}, projection or ID_ONLY)

    async def release(self, collection: Collection, values: BSON | None = None) -> bool:
        """Ends the lease, and sets ``values`` in the same write. False if the lease was lost."""
        until, *holder = self.policy.fields
        update: BSON = {"$set": {until: utc_now(), **dict.fromkeys(holder), **(values or {})}}
        if self.policy.optional:
            update = {"$unset": dict.fromkeys(self.policy.fields, ""), **({"$set": values} if values else {})}
        return (await collection.update_one(self.mine, update)).matched_count == 1
