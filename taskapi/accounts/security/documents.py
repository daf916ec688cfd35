"""The stored shape of a counter of attempts."""

from datetime import datetime
from typing import Annotated, ClassVar

from beanie import Document
from pydantic import Field
from pymongo import ASCENDING

from taskapi.core.fields import omittable
from taskapi.db.indexes import Index


class ThrottleDocument(Document):
    """A counter against guessing, for an account, an IP address or a pair of both with an attempt in the last hour.

    The counter for an IP address from which the account has signed in is kept for 30 days.
    """

    id: bytes  # type: ignore[assignment]
    """Keyed hash (BLAKE2b) of what is counted, which cannot be derived from it: what is typed for a user name may be a
    password."""
    failures: Annotated[int, Field(ge=0)]
    """Failed attempts, and attempts in progress."""
    blocked_until: datetime | None
    """Until then, further attempts are answered with 429 and not counted; null if they are not blocked."""
    forgotten_at: datetime
    """When ``failures`` restarts at 0, unless there is another attempt: an hour after the last."""
    expires_at: datetime
    """When MongoDB may remove the counter."""
    account: bytes = omittable()
    """For an IP address from which an account has signed in: the ``_id`` of the account's own counter."""

    class Settings:
        name = "throttles"
        is_internal = True
        indexes: ClassVar = [
            Index(
                [("account", ASCENDING)],
                name="known_to_account",
                serves="forgetting the known IP addresses of an account when its password is reset",
                sparse=True,
            ),
            Index(
                [("expires_at", ASCENDING)],
                name="throttle_expiry",
                serves="the removal of expired counters",
                expireAfterSeconds=0,
            ),
        ]
