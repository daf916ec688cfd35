"""Slowing down guesses. An attempt is counted before it is looked at, so those that come at once are limited as well."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import IPv6Address, ip_address
from typing import Final

from bson import ObjectId
from pymongo import UpdateOne

from taskapi.accounts.errors import InactiveUser, InvalidScope, SecondFactorRequired
from taskapi.accounts.security.attempt_counters import BackoffPolicy, Counter
from taskapi.accounts.security.repository import ThrottleRepository
from taskapi.core.errors import Unavailable
from taskapi.core.keys import Signer

KNOWN: Final = timedelta(days=30)  # an address is known to an account so long after a sign-in
IPV6_HOST_BITS = 64  # one customer has at least all addresses of a /64 (RFC 6177)

# Strangers and a known address together get below 100 wrong passwords an hour at one account, as ASVS 2.2.1 asks.
ACCOUNT = BackoffPolicy(b"account", free_attempts=5)
KNOWN_ADDRESS = BackoffPolicy(b"account from a known address", free_attempts=10, longest=60)
ADDRESS = BackoffPolicy(b"address", free_attempts=50)
CURRENT_PASSWORD = BackoffPolicy(b"current password", free_attempts=5)
REFRESH = BackoffPolicy(b"refresh", free_attempts=50)
RESET_EMAIL = BackoffPolicy(b"reset by e-mail address", free_attempts=5)
RESET_ADDRESS = BackoffPolicy(b"reset by address", free_attempts=20)
VERIFICATION = BackoffPolicy(b"verification of an address", free_attempts=10)
NAMES = BackoffPolicy(b"names that an account asks for", free_attempts=20)
CONFIRMATION = BackoffPolicy(b"confirmation of a second factor", free_attempts=5)
REGISTRATION = b"registration"

NO_GUESS: Final = (Unavailable, InactiveUser, InvalidScope, SecondFactorRequired)
"""Errors of an attempt whose secret was right, or was not looked at. After any other the attempt stays counted."""


class Throttle:
    """What may be tried how often, for all workers together."""

    def __init__(self, counters: ThrottleRepository, signer: Signer, *, registrations: int) -> None:
        """``signer`` makes the counters' ids; ``registrations`` are free for one address."""
        self._counters = counters
        self._signer = signer
        self._registration = BackoffPolicy(REGISTRATION, registrations)

    @asynccontextmanager
    async def sign_in(self, username: str, address: str) -> AsyncIterator[None]:
        """What happens inside is one attempt to sign in. When it raises, it has failed; ``NO_GUESS`` are the exceptions.

        It counts for the account and for the address. From an address where the account has signed in lately it has a
        counter of its own instead, so that whoever guesses elsewhere does not keep the owner out. None of this depends on
        whether there is such an account.

        Raises:
            TooManyAttempts: nothing is counted, and nothing happens inside.
        """
        account, home = username.lower(), _network(address)
        known = self._counter(KNOWN_ADDRESS, f"{home}\n{account}")
        strangers = [self._counter(ACCOUNT, account), self._counter(ADDRESS, home)]
        undo = await self._counters.count([known] if await self._counters.is_live(known) else strangers)
        async with self._attempt(undo, known.extend(KNOWN, self._signer.sign(ACCOUNT.kind, account.encode()))):
            yield

    @asynccontextmanager
    async def current_password(self, user: ObjectId, session: ObjectId | None) -> AsyncIterator[None]:
        """What happens inside is one attempt to say the current password within a session; otherwise as ``sign_in``.

        Each session counts for itself: whoever has stolen one does not keep the owner out, who can begin another.
        """
        async with self._attempt(await self._counters.count([self._counter(CURRENT_PASSWORD, f"{user} {session}")])):
            yield

    async def registration(self, address: str) -> None:
        """Counts an account that is to be made from ``address``. Raises TooManyAttempts."""
        await self._counters.count([self._counter(self._registration, _network(address))])

    async def change_of_name(self, user: ObjectId, address: str) -> None:
        """Counts a user name or e-mail address that ``user`` wants: the answer says whether somebody has it, as registering does.

        So it counts for the address of the caller as a registration.

        Raises:
            TooManyAttempts: there were too many.
        """
        by_address = self._counter(self._registration, _network(address))
        await self._counters.count([self._counter(NAMES, str(user)), by_address])

    @asynccontextmanager
    async def confirmation(self, user: ObjectId) -> AsyncIterator[None]:
        """What happens inside is one attempt to confirm a second factor of ``user``; otherwise as ``sign_in``."""
        async with self._attempt(await self._counters.count([self._counter(CONFIRMATION, str(user))])):
            yield

    async def reset_request(self, email: str, address: str) -> None:
        """Counts a request for a new password, whether or not that is anybody's e-mail address. Raises TooManyAttempts."""
        by_email, by_address = self._counter(RESET_EMAIL, email.lower()), self._counter(RESET_ADDRESS, _network(address))
        await self._counters.count([by_email, by_address])

    async def verification(self, user: ObjectId) -> None:
        """Counts a mail that ``user`` has sent to an address that may be somebody else's. Raises TooManyAttempts."""
        await self._counters.count([self._counter(VERIFICATION, str(user))])

    async def refused_refresh(self, address: str) -> None:
        """Counts a refresh token that was refused. Raises TooManyAttempts."""
        await self._counters.count([self._counter(REFRESH, _network(address))])

    async def reset(self, username: str) -> None:
        """Forgets the failures of an account whose owner has shown by other means who they are, and from where it was used."""
        await self._counters.remove(self._counter(ACCOUNT, username.lower()))

    def _counter(self, policy: BackoffPolicy, subject: str) -> Counter:
        return Counter(self._signer.sign(policy.kind, subject.encode()), policy)

    @asynccontextmanager
    async def _attempt(self, undo: Sequence[UpdateOne], *on_success: UpdateOne) -> AsyncIterator[None]:
        """An attempt that was counted: ``undo`` takes it back, and ``on_success`` is written when it succeeds."""
        try:
            yield
        except NO_GUESS:
            await self._counters.write(undo)
            raise
        await self._counters.write([*undo, *on_success])


def _network(address: str) -> str:
    """What counts as one address: that of IPv4, the /64 of IPv6, or whatever else the server calls its caller."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, IPv6Address):
        return str(ip.ipv4_mapped or IPv6Address(int(ip) >> IPV6_HOST_BITS << IPV6_HOST_BITS))
    return address
