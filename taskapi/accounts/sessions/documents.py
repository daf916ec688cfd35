"""The stored shape of a session."""

from datetime import datetime
from typing import Annotated, ClassVar

from beanie import Document, PydanticObjectId
from pydantic import BaseModel, Field
from pymongo import ASCENDING

from taskapi.accounts.security.scopes import MEANING, Scope
from taskapi.audit.documents import Agent
from taskapi.db.indexes import Index

ROTATIONS_KEPT = 10  # how many rotations a client may be behind when it retries


class Rotation(BaseModel):
    """When and by which client a refresh token was used."""

    at: datetime
    address: str  # the client's IP address
    agent: Agent


class SessionDocument(Document):
    """The details of one session, which is alive while ``users.sessions`` lists it."""

    user: PydanticObjectId
    scopes: Annotated[list[Scope], Field(max_length=len(MEANING))]
    token_hash: bytes  # of the current refresh token
    generation: Annotated[int, Field(ge=0)]  # how often it was rotated
    chain: bytes  # the key that derives each refresh token from the previous one
    rotations: Annotated[list[Rotation], Field(max_length=ROTATIONS_KEPT)]  # the latest, newest last
    address: str  # the client's IP address
    agent: Agent
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
