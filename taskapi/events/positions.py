"""Positions: signed places in the stream of an account's events, which callers keep and send back to go on from there.

A position is valid on every worker, after restarts and after fail-overs. Equal positions are equal places.
"""

from typing import NamedTuple, Self

import bson
from bson import ObjectId

from taskapi.core.keys import SIGNATURE_BYTES, Signer, decode_base64url, encode_base64url
from taskapi.db.change_streams import time_of
from taskapi.events.errors import InvalidPosition, OtherDatabase

MAX_LENGTH = 400  # characters
DATABASE_BYTES = 8
MAX_SECONDS = 2**32 - 1  # of a time in MongoDB


class Page(NamedTuple):
    """How far a reader of changed tasks has come, who reads them page by page. Times are in ms since 1970."""

    low: int | None  # the ``changed_at`` that the reader began with; None for a first run through all tasks
    ms: int | None  # the ``changed_at`` of the last task that was read, in a first run its ``created_at``, if that is a time
    task_id: ObjectId


class Position(NamedTuple):
    """A place in the stream: behind everything up to ``time``; with ``token``, behind the change with this resume token.

    With a ``page``, the reader has not read everything up to ``time`` yet.
    """

    time: bson.Timestamp
    token: str | None = None
    page: Page | None = None

    @classmethod
    def behind(cls, token: str) -> Self:
        """The place that a resume token names."""
        return cls(time_of(token), token)

    @property
    def time_only(self) -> bson.Timestamp | None:
        """The time, if there is no token that says it better."""
        return None if self.token else self.time

    def before_page(self) -> "Position | None":
        """A place before what the reader of pages has not read yet; None within the first run through all tasks."""
        if self.page is None or self.page.low is None:
            return None
        return Position(bson.Timestamp(min(max(0, self.page.low // 1000 - 1), MAX_SECONDS), 0))

    def is_earlier(self, other: "Position") -> bool:
        """Whether another place comes after this one."""
        if self.token and other.token:
            return self.token < other.token  # the digits of tokens are in the order of the places that they name
        return self.time < other.time

    def is_before(self, token: str) -> bool:
        """Whether the change with this resume token comes after the place."""
        if self.token is not None:
            return token > self.token
        return time_of(token) > self.time


class PositionSigner(Signer):
    """Signs positions."""


class PositionCodec:
    """Writes and reads the positions of one database. ``database_id`` tells it from others."""

    def __init__(self, signer: PositionSigner, database_id: bytes) -> None:
        self._signer, self._database = signer, database_id[:DATABASE_BYTES]

    def write(self, position: Position, owner_id: ObjectId) -> str:
        """The text of a position, for the account with this id alone."""
        token = bytes.fromhex(position.token) if position.token else None
        payload = bson.encode({"": [self._database, position.time, token, *(position.page or ())]})
        return encode_base64url(self._signer.sign(owner_id.binary, payload) + payload)

    def read(self, text: str, owner_id: ObjectId) -> Position:
        """The position that was written as ``text``.

        Raises:
            InvalidPosition: it was not written for the account with this id.
            OtherDatabase: it was, but as a place in another database.
        """
        signed = (decode_base64url(text) if len(text) <= MAX_LENGTH and text.isascii() else None) or b""
        signature, payload = signed[:SIGNATURE_BYTES], signed[SIGNATURE_BYTES:]
        if not self._signer.verify(signature, owner_id.binary, payload):
            raise InvalidPosition
        database, time, token, *page = bson.decode(payload)[""]
        if database != self._database:
            raise OtherDatabase
        return Position(time, token.hex().upper() if token else None, Page(*page) if page else None)
