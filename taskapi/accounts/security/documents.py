"""The stored shape of a counter of attempts."""

from datetime import datetime
from typing import Annotated, ClassVar

from beanie import Document
from pydantic import Field
from pymongo import ASCENDING

from taskapi.core.fields import omittable
from taskapi.db.indexes import Index


class ThrottleDocument(Document):
    """The recent attempts of one account, IP address or pair of them."""

    id: bytes  # type: ignore[assignment]  # a keyed hash: what is typed for a user name may be a password
    failures: Annotated[int, Field(ge=0)]
    blocked_until: datetime | None
    forgotten_at: datetime  # when the failures are forgotten, unless another one follows
    expires_at: datetime
    account: bytes = omittable()  # for an IP address from which an account has signed in: the ``id`` of the account's own counter

    class Settings:
        name = "throttles"
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
