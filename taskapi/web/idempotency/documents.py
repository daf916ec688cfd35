"""How the use of an idempotency key is stored."""

from datetime import datetime
from typing import Annotated, ClassVar

from beanie import Document, PydanticObjectId
from pydantic import BaseModel, Field
from pymongo import ASCENDING

from taskapi.db.indexes import Index
from taskapi.db.schema import Confidential

KEY_PATTERN = "[!-~]{1,255}"  # visible ASCII


class CallersKey(BaseModel):
    """Whose key it is, and the key: together they are the ``_id``, so MongoDB decides which request is first."""

    scope: str
    """``user:`` and the account's id, or ``address:`` and the IP address of a registration."""
    key: Annotated[str, Field(pattern=f"^{KEY_PATTERN}$")]
    """The value of the header."""


class IdempotencyDocument(Document):
    """A request with an ``Idempotency-Key``, kept for 24 hours from the first request with that key.

    It is reserved while the request runs, and then has the response, which is the caller's data. An answer with the
    header `taskapi-unfinished` is not given again: a repeat runs those operations of the bulk that got 503.
    """

    id: CallersKey  # type: ignore[assignment]
    """Whose key it is, and the key."""
    seed: PydanticObjectId
    """The first of the ids that the request assigns. A repeated request assigns the same ids."""
    fingerprint: Annotated[bytes | None, Confidential()]
    """HMAC-SHA-256 of the request, keyed by the service's secret; null until the request's body has been read."""
    holder: PydanticObjectId | None
    """The run that holds the lock; null between runs and once there is a response."""
    locked_until: datetime
    """Until when that run keeps others out; renewed while it runs."""
    status: Annotated[int, Field(ge=100, le=599)] | None
    """The status of the response; null while there is none."""
    headers: Annotated[list[tuple[str, str]] | None, Confidential()]
    """The name and value of each header of the response; null while there is none."""
    body: Annotated[bytes | None, Confidential()]
    """The body of the response; null while there is none."""
    created_at: datetime
    """When the first request with the key arrived."""
    expires_at: datetime
    """24 hours after ``created_at``."""

    class Settings:
        name = "idempotency_keys"
        is_internal = True
        rules: ClassVar = [
            {
                "$comment": "Either all of `status`, `headers` and `body` are null, or none.",
                "$or": [
                    {"status": None, "headers": None, "body": None},
                    {"status": {"$ne": None}, "headers": {"$ne": None}, "body": {"$ne": None}},
                ],
            },
        ]
        indexes: ClassVar = [
            Index([("expires_at", ASCENDING)], name="expiry", serves="the removal of expired keys", expireAfterSeconds=0),
        ]
