"""Who listens: how many at a time, and until when. A session that ends elsewhere ends what it has opened here.

One look for all listeners of a worker, every two seconds: their accounts are looked up in batches, so that thousands of
idle listeners cost next to nothing.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from typing import Final, TypeVar

from bson import ObjectId

from taskapi.accounts.api_tokens.service import ApiTokenService, TokenOwner
from taskapi.accounts.callers import Caller
from taskapi.accounts.security.scopes import OF_ROLE
from taskapi.accounts.users.repository import UserRepository
from taskapi.accounts.users.schemas import Account, UserRead
from taskapi.core.background import Job
from taskapi.core.clock import utc_now
from taskapi.core.errors import ServerBusy
from taskapi.events.errors import TooManyListeners
from taskapi.events.follower import EndReason
from taskapi.web.http_protocol import HttpProtocol

Key = TypeVar("Key")

SWEEP_SECONDS: Final = 2.0
MAX_OF_ACCOUNT: Final = 100
MAX_SHARE: Final = 0.75  # of the connections of a worker; the others are for requests
NEEDED: Final = "tasks:read"
BATCH: Final = 100  # accounts, or API tokens, that one query looks up


class GuardJob(Job):
    """The job that looks after the listeners."""


class Listening:
    """A caller who may listen, as long as nothing ends that: ``ended`` then has the reason."""

    __slots__ = ("api_token", "ended", "expiry", "session", "user_id")

    def __init__(self, caller: Caller) -> None:
        self.user_id: ObjectId = caller.user.object_id
        self.session, self.api_token, self.expiry = caller.session, caller.api_token, caller.expiry
        self.ended: asyncio.Future[EndReason] = asyncio.get_running_loop().create_future()

    def end(self, reason: EndReason) -> None:
        """Ends the listening, unless it has ended already."""
        if not self.ended.done():
            self.ended.set_result(reason)


class ListenerGuard:
    """The listeners of a worker. ``refresh`` is told of each account as it is, whenever it was looked up."""

    def __init__(self, users: UserRepository, api_tokens: ApiTokenService, refresh: Callable[[UserRead], None]) -> None:
        self._users, self._api_tokens, self._refresh = users, api_tokens, refresh
        self._listeners: set[Listening] = set()
        self._of_account: Counter[ObjectId] = Counter()
        self._stopping = False

    def add(self, caller: Caller) -> Listening:
        """Counts and guards a caller who listens, until ``remove``. While the server stops, it has ended from the start.

        Raises:
            TooManyListeners: the account has as many as it may have.
            ServerBusy: the worker has.
        """
        listening = Listening(caller)
        if self._of_account[listening.user_id] >= MAX_OF_ACCOUNT:
            raise TooManyListeners
        if len(self._listeners) >= HttpProtocol.max_connections * MAX_SHARE:
            raise ServerBusy
        self._listeners.add(listening)
        self._of_account[listening.user_id] += 1
        if self._stopping:
            listening.end(EndReason.server_stopping)
        return listening

    def remove(self, listening: Listening) -> None:
        """Counts and guards it no longer."""
        self._listeners.remove(listening)
        self._of_account[listening.user_id] -= 1
        if not self._of_account[listening.user_id]:
            del self._of_account[listening.user_id]

    def stop(self) -> None:
        """Ends all listeners, and those that come later: the server stops. Called once for each connection."""
        if not self._stopping:
            self._stopping = True
            for listener in self._listeners:
                listener.end(EndReason.server_stopping)

    async def sweep(self) -> None:
        """Ends those listeners whose token, session or account has ended, or does not permit it any more.

        Raises:
            PyMongoError: MongoDB cannot be asked. Then only tokens that have expired have ended.
        """
        now = utc_now().timestamp()
        for listener in self._listeners:
            if listener.expiry is not None and listener.expiry <= now:
                listener.end(EndReason.token_expired)
        listening = [listener for listener in self._listeners if not listener.ended.done()]
        hashes = {listener.api_token for listener in listening if listener.api_token is not None}
        owners: dict[bytes, TokenOwner] = {}
        for some in _batches(hashes):
            owners |= await self._api_tokens.find_owners(some)
        unknown = {each.user_id for each in listening if each.api_token is None or each.api_token not in owners}
        users: dict[ObjectId, Account] = {}
        for few in _batches(unknown):
            users |= await self._users.find_active(few)
        for listener in listening:
            owner = None if listener.api_token is None else owners.get(listener.api_token)
            if reason := _reason(listener, owner, users.get(listener.user_id)):
                listener.end(reason)
        for user in (*users.values(), *(owner.user for owner in owners.values())):
            self._refresh(user)


def _reason(listener: Listening, owner: TokenOwner | None, user: Account | None) -> EndReason | None:
    if owner is not None:
        return None if NEEDED in owner.scopes else EndReason.scope_lost
    if user is None:
        return EndReason.account_disabled
    if listener.session is None or listener.session not in user.sessions:
        return EndReason.session_ended
    return None if NEEDED in OF_ROLE[user.role] else EndReason.scope_lost


def _batches(keys: Collection[Key]) -> Iterator[list[Key]]:
    remaining = iter(keys)
    while some := list(islice(remaining, BATCH)):
        yield some
