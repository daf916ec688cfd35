"""The stored shape of a session."""

from datetime import datetime
from typing import Annotated, ClassVar

from beanie import Document, PydanticObjectId
from pydantic import BaseModel, Field
from pymongo import ASCENDING

from taskapi.accounts.security.scopes import MEANING, Scope
from taskapi.audit.documents import Agent
from taskapi.db.indexes import Index
from taskapi.db.schema import Confidential

ROTATIONS_KEPT = 10  # how many rotations a client may be behind when it retries


class Rotation(BaseModel):
    """When and by which client a refresh token was used."""

    at: datetime
    """When the refresh token was used."""
    address: str
    """The IP address of the client that used it."""
    agent: Agent
    """The start of that client's ``User-Agent``."""


class SessionDocument(Document):
    """The details of one session that has not ended. ``users.sessions`` decides whether the session is active."""

    user: PydanticObjectId
    """The ``_id`` of the account."""
    scopes: Annotated[list[Scope], Field(max_length=len(MEANING))]
    """What access tokens of the session permit."""
    token_hash: Annotated[bytes, Confidential()]
    """Keyed hash (BLAKE2b) of the current refresh token."""
    generation: Annotated[int, Field(ge=0)]
    """How often the refresh token was rotated."""
    chain: Annotated[bytes, Confidential()]
    """The key that derives each refresh token from its predecessor."""
    rotations: Annotated[list[Rotation], Field(max_length=ROTATIONS_KEPT)]
    """The latest rotations of the refresh token, newest last."""
    address: str
    """The IP address of the sign-in or the last refresh."""
    agent: Agent
    """The start of the client's ``User-Agent``."""
    created_at: datetime
    """When the session began."""
    last_seen_at: datetime
    """When the session was last used, up to a minute behind."""
    ends_at: datetime
    """When the session ends at the latest."""
    expires_at: datetime
    """When the session ends unless it is refreshed first."""

    class Settings:
        name = "sessions"
        indexes: ClassVar = [
            Index(
                [("user", ASCENDING), ("last_seen_at", ASCENDING)],
                name="user_last_seen",
                serves="the sessions of one account, last seen first; ending all of them",
            ),
            Index(
                [("expires_at", ASCENDING)], name="session_expiry", serves="the removal of expired sessions", expireAfterSeconds=0
            ),
        ]
