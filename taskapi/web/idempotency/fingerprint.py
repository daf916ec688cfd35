"""What distinguishes two requests with the same key."""

import hashlib
import hmac
from collections import deque
from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope

from taskapi.core.errors import DomainError

Fingerprints = tuple[bytes, ...]  # of one request, by each key and in each form that versions have stored; the first is stored

READ_AHEAD = 65_536  # bytes of a body that are read before anything is reserved: most bodies whole


class FingerprintKeys(tuple[bytes, ...]):
    """The keys of fingerprints, the current one first."""


class FingerprintedBody:
    """A request's body, hashed while it is read; only its first ``READ_AHEAD`` bytes are kept.

    A fingerprint is the HMAC of a SHA-256 over method, path, query, content type and body. It is keyed because a body may
    hold a password, and a plain hash of it would be quicker to guess than the one that is stored. There is one for each of
    ``keys``, the current one first. Behind them stand those that version 1.1 stored, to compare with: HMACs of the same parts
    themselves.
    """

    def __init__(self, scope: Scope, receive: Receive, keys: FingerprintKeys) -> None:
        self._receive = receive
        self._keys = keys
        self._ahead: deque[Message] = deque()
        self._hash = hashlib.sha256()
        self._hashes_of_1_1 = [hmac.new(key, digestmod="sha256") for key in keys]
        self._complete = False
        self._identify: Callable[[Fingerprints], Awaitable[None]] | None = None
        self._refusal: DomainError | None = None
        content_type = b",".join(value for name, value in scope["headers"] if name == b"content-type")
        for part in (scope["method"].encode(), scope["path"].encode(), scope["query_string"], content_type):
            self._update(len(part).to_bytes(4, "big") + part)

    @property
    def fingerprints(self) -> Fingerprints | None:
        """The fingerprints; None until the body is complete."""
        if not self._complete:
            return None
        current = (hmac.digest(key, self._hash.digest(), "sha256") for key in self._keys)
        return *current, *(each.digest() for each in self._hashes_of_1_1)

    async def begin(self) -> None:
        """Reads the start of the body. Raises ClientDisconnect."""
        size = 0
        while not self._complete and size < READ_AHEAD:
            message = await self._next()
            self._ahead.append(message)
            size += len(message.get("body", b""))

    async def finish(self) -> Fingerprints:
        """Reads what is left of the body; the fingerprints. Raises ClientDisconnect, and what ``receive`` raises or raised."""
        while not self._complete:
            await self._passed_on()
        if self._refusal:
            raise self._refusal
        return self.fingerprints or ()

    def on_complete(self, identify: Callable[[Fingerprints], Awaitable[None]]) -> None:
        """Has ``identify`` called with the fingerprints before the route sees the end of the body, if that is still to come."""
        self._identify = identify if not self._complete else None

    async def receive(self) -> Message:
        """The next message, for the route.

        Raises:
            DomainError: at the end of the body, as the call of ``on_complete`` does.
        """
        if self._ahead:
            return self._ahead.popleft()
        return await (self._receive() if self._complete else self._passed_on())

    async def _passed_on(self) -> Message:
        message = await self._next()
        if self.fingerprints and self._identify:
            try:
                await self._identify(self.fingerprints)
            except DomainError as error:
                self._refusal = error
                raise
        return message

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        self._update(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        return message

    def _update(self, data: bytes) -> None:
        self._hash.update(data)
        for each in self._hashes_of_1_1:
            each.update(data)
