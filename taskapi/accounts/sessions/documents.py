"""The stored shape of a session."""

from datetime import datetime
from typing import ClassVar

from beanie import Document, PydanticObjectId
from pydantic import BaseModel
from pymongo import ASCENDING

from taskapi.db.indexes import Index


class Rotation(BaseModel):
    """When and by which client a refresh token was used."""

    at: datetime
    address: str  # the client's IP address
    agent: str


class SessionDocument(Document):
    """The details of one session, which is alive while ``users.sessions`` lists it."""

    user: PydanticObjectId
    scopes: list[str]
    token_hash: bytes  # of the current refresh token
    generation: int  # how often it was rotated
    chain: bytes  # the key that derives each refresh token from the previous one
    rotations: list[Rotation]  # the latest, newest last
    address: str  # the client's IP address
    agent: str
    created_at: datetime
    last_seen_at: datetime
    ends_at: datetime  # at the latest
    expires_at: datetime  # unless it is refreshed before

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
