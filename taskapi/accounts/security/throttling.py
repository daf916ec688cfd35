"""Slows guesses down. An attempt is counted before it is checked, so concurrent attempts are limited as well."""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv6Address, ip_address
from typing import Final

from bson import ObjectId
from pymongo import UpdateOne
from pymongo.errors import PyMongoError

from taskapi.accounts.errors import InactiveUser, InvalidScope, SecondFactorRequired
from taskapi.accounts.security.attempt_counters import BackoffPolicy, Counter
from taskapi.accounts.security.repository import ThrottleRepository
from taskapi.core.errors import Unavailable
from taskapi.core.keys import Signer

log = logging.getLogger(__name__)

KNOWN: Final = timedelta(days=30)  # how long an IP address is known to an account after a sign-in
IPV6_HOST_BITS = 64  # a customer has at least a whole /64 (RFC 6177)

# Unknown and known IP addresses together get fewer than 100 wrong passwords per hour and account, as ASVS 2.2.1 requires.
ACCOUNT = BackoffPolicy(b"account", free_attempts=5)
KNOWN_ADDRESS = BackoffPolicy(b"account from a known address", free_attempts=10, max_seconds=60)
ADDRESS = BackoffPolicy(b"address", free_attempts=50)
CURRENT_PASSWORD = BackoffPolicy(b"current password", free_attempts=5)
REFRESH = BackoffPolicy(b"refresh", free_attempts=50)
RESET_EMAIL = BackoffPolicy(b"reset by e-mail address", free_attempts=5)
RESET_ADDRESS = BackoffPolicy(b"reset by address", free_attempts=20)
VERIFICATION = BackoffPolicy(b"verification of an address", free_attempts=10)
NAMES = BackoffPolicy(b"names that an account asks for", free_attempts=20)
CONFIRMATION = BackoffPolicy(b"confirmation of a second factor", free_attempts=5)
REGISTRATION = b"registration"
KEYED_REGISTRATION = b"registration under a key"
REPEATS = 2  # as many requests with a key are free as accounts, times this

NO_GUESS: Final = (Unavailable, InactiveUser, InvalidScope, SecondFactorRequired)
"""Errors of an attempt whose secret was right or was not checked."""


@dataclass(slots=True)
class Attempt:
    """One attempt to give a secret. ``is_wrong``: one was checked and is wrong, so no later error is an excuse."""

    is_wrong: bool = False


class Throttle:
    """Limits how often something may be attempted, across all workers."""

    def __init__(self, counters: ThrottleRepository, signer: Signer, *, registrations: int) -> None:
        """``signer`` creates the counters' ids; ``registrations`` is the number of free attempts per IP address."""
        self._counters = counters
        self._signer = signer
        self._registration = BackoffPolicy(REGISTRATION, registrations)
        self._keyed_registration = BackoffPolicy(KEYED_REGISTRATION, REPEATS * registrations)

    @asynccontextmanager
    async def sign_in(self, username: str, ip: str) -> AsyncIterator[Attempt]:
        """The block is one attempt to sign in. It has failed when it raises, except for an error in ``NO_GUESS``.

        An error of the database leaves it open whether the secret is right, so the block sets ``is_wrong`` once it is known to
        be wrong, before anything else can fail.

        It counts for the account and for the IP address. An IP address from which the account has signed in recently has its
        own counter instead, so that guesses from elsewhere do not lock the owner out. Accounts that do not exist are counted
        as well.

        Raises:
            TooManyAttempts: nothing is counted, and the block does not run.
        """
        account, network = username.lower(), _network(ip)
        known = self._counter(KNOWN_ADDRESS, f"{network}\n{account}")
        strangers = [self._counter(ACCOUNT, account), self._counter(ADDRESS, network)]
        undo = await self._counters.count([known] if await self._counters.is_live(known) else strangers)
        async with self._attempt(undo, known.extend(KNOWN, self._signer.sign(ACCOUNT.kind, account.encode()))) as attempt:
            yield attempt

    @asynccontextmanager
    async def current_password(self, user: ObjectId, session: ObjectId | None) -> AsyncIterator[Attempt]:
        """The block is one attempt to confirm the current password within a session; otherwise as ``sign_in``.

        Each session has its own counter: the thief of one session cannot lock the owner out of others.
        """
        async with self._attempt(await self._counters.count([self._counter(CURRENT_PASSWORD, f"{user} {session}")])) as attempt:
            yield attempt

    async def registration(self, ip: str) -> None:
        """Counts an account that is to be created from ``ip``. Raises TooManyAttempts."""
        await self._counters.count([self._counter(self._registration, _network(ip))])

    async def keyed_registration(self, ip: str) -> None:
        """Counts a request from ``ip`` to create an account under an idempotency key, a repeat as well. Raises TooManyAttempts.

        Each key is stored, even if the request is refused before it counts as a registration.
        """
        await self._counters.count([self._counter(self._keyed_registration, _network(ip))])

    async def change_of_name(self, user: ObjectId, ip: str) -> None:
        """Counts a request by ``user`` for another user name or e-mail address.

        The answer reveals whether it is taken, as a registration does, so it also counts as a registration from ``ip``.

        Raises:
            TooManyAttempts: there were too many.
        """
        by_ip = self._counter(self._registration, _network(ip))
        await self._counters.count([self._counter(NAMES, str(user)), by_ip])

    @asynccontextmanager
    async def confirmation(self, user: ObjectId) -> AsyncIterator[None]:
        """The block is one attempt to confirm a second factor of ``user``; otherwise as ``sign_in``."""
        async with self._attempt(await self._counters.count([self._counter(CONFIRMATION, str(user))])):
            yield

    async def reset_request(self, email: str, ip: str) -> None:
        """Counts a request for a new password, whether or not an account has the e-mail address. Raises TooManyAttempts."""
        by_email, by_ip = self._counter(RESET_EMAIL, email.lower()), self._counter(RESET_ADDRESS, _network(ip))
        await self._counters.count([by_email, by_ip])

    async def verification(self, user: ObjectId) -> None:
        """Counts a verification mail that ``user`` requests: the address may belong to someone else. Raises TooManyAttempts."""
        await self._counters.count([self._counter(VERIFICATION, str(user))])

    async def refused_refresh(self, ip: str) -> None:
        """Counts a refresh token that was refused. Raises TooManyAttempts."""
        await self._counters.count([self._counter(REFRESH, _network(ip))])

    async def forget_addresses(self, username: str) -> None:
        """Forgets from where the former owner of a user name has signed in: somebody else takes the name."""
        await self._counters.remove_known(self._counter(ACCOUNT, username.lower()))

    async def reset(self, username: str) -> None:
        """Forgets the failures of an account and its known addresses, once its owner is identified by other means."""
        await self._counters.remove(self._counter(ACCOUNT, username.lower()))

    def _counter(self, policy: BackoffPolicy, subject: str) -> Counter:
        return Counter(self._signer.sign(policy.kind, subject.encode()), policy)

    @asynccontextmanager
    async def _attempt(self, undo: Sequence[UpdateOne], *on_success: UpdateOne) -> AsyncIterator[Attempt]:
        """An attempt that was counted: ``undo`` takes it back, and ``on_success`` is written when it succeeds."""
        attempt = Attempt()
        try:
            yield attempt
        except (*NO_GUESS, PyMongoError):
            if not attempt.is_wrong:
                await self._write(undo)
            raise
        await self._write([*undo, *on_success])

    async def _write(self, updates: Sequence[UpdateOne]) -> None:
        """Writes what follows from an attempt, whose outcome stands: if the database fails, the attempt stays counted."""
        try:
            await self._counters.write(updates)
        except PyMongoError as error:
            log.warning("an attempt stays counted: %s", type(error).__name__)


def _network(ip: str) -> str:
    """The network that is counted as one: an IPv4 address, the /64 of an IPv6 address, or any other name of a caller."""
    try:
        parsed = ip_address(ip)
    except ValueError:
        return ip
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or IPv6Address(int(parsed) >> IPV6_HOST_BITS << IPV6_HOST_BITS))
    return ip
