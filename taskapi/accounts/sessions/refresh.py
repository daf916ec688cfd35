"""Refresh tokens: each is derived from the previous one with a key of its session.

So a retry gets the same successor although only its hash is stored, and an old token can be told from an invented one: the
chain leads from it to the current token.
"""

import base64
import binascii
import hashlib
import secrets
import struct
from dataclasses import dataclass
from typing import Self

from bson import ObjectId

PREFIX = "tsr_"
SECRET_BYTES = 20
LAYOUT = struct.Struct(f">12sI{SECRET_BYTES}s")
TEXT_CHARACTERS = len(PREFIX) + LAYOUT.size * 4 // 3
MAX_CHAIN_LENGTH = 5000  # steps to recognise a used token, about 1 us each; 90 days have 4,320 half hours


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """One refresh token: its session, its number in the session, and a secret."""

    session: ObjectId
    generation: int
    secret: bytes

    @classmethod
    def first(cls, session: ObjectId) -> Self:
        """The first token of a new session."""
        return cls(session, 0, secrets.token_bytes(SECRET_BYTES))

    @classmethod
    def read(cls, text: str) -> Self | None:
        """The token that ``text`` represents; None when it is not a refresh token."""
        if len(text) != TEXT_CHARACTERS or not text.startswith(PREFIX):
            return None
        try:
            session, generation, secret = LAYOUT.unpack(base64.b64decode(text.removeprefix(PREFIX), b"-_", validate=True))
        except (binascii.Error, ValueError, struct.error):
            return None
        return cls(ObjectId(session), generation, secret)

    @property
    def raw(self) -> bytes:
        """The token as bytes."""
        return LAYOUT.pack(self.session.binary, self.generation, self.secret)

    def __str__(self) -> str:
        return PREFIX + base64.urlsafe_b64encode(self.raw).decode()

    def later(self, chain: bytes, steps: int = 1) -> Self:
        """The token that follows this one after ``steps`` rotations of the session whose key is ``chain``."""
        secret = self.secret
        for _ in range(steps):
            secret = hashlib.blake2b(secret, key=chain, digest_size=SECRET_BYTES).digest()
        return type(self)(self.session, self.generation + steps, secret)
