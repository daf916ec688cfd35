"""How the use of an idempotency key is stored."""

from datetime import datetime
from typing import Annotated, ClassVar

from beanie import Document, PydanticObjectId
from pydantic import BaseModel, Field
from pymongo import ASCENDING

from taskapi.db.indexes import Index

KEY_PATTERN = "[!-~]{1,255}"  # visible ASCII


class CallersKey(BaseModel):
    """Whose key it is, and the key: together they are the ``_id``, so MongoDB decides which request is first."""

    scope: str
    key: Annotated[str, Field(pattern=f"^{KEY_PATTERN}$")]


class IdempotencyDocument(Document):
    """One request under one key: reserved while it runs, then with its answer."""

    id: CallersKey  # type: ignore[assignment]  # Beanie's own is an ObjectId
    seed: PydanticObjectId  # of the ids that the request gives
    fingerprint: bytes | None  # None until the whole body has been read
    holder: PydanticObjectId | None  # the run that works on it; None between runs and once it is answered
    locked_until: datetime
    status: Annotated[int, Field(ge=100, le=599)] | None
    headers: list[tuple[str, str]] | None
    body: bytes | None
    created_at: datetime
    expires_at: datetime

    class Settings:
        name = "idempotency_keys"
        rules: ClassVar = [
            # the answer is stored in one write
            {
                "$or": [
                    {"status": None, "headers": None, "body": None},
                    {"status": {"$ne": None}, "headers": {"$ne": None}, "body": {"$ne": None}},
                ]
            },
        ]
        indexes: ClassVar = [
            Index([("expires_at", ASCENDING)], name="expiry", serves="the removal of expired keys", expireAfterSeconds=0),
        ]
