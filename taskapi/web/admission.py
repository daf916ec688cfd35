"""How many expensive requests run at the same time: bulkheads with a share for each account and a larger one for the worker.

A request over one of these shares waits for a while, and is then refused. Waiting requests cost little: their bodies are not
read yet. Each worker counts separately, in memory.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, NamedTuple, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from taskapi.core.errors import DomainError, ServerBusy, TooManyAtOnce
from taskapi.web.disconnect import Disconnect, of_scope
from taskapi.web.load import Load
from taskapi.web.request_state import state_of
from taskapi.web.services import services_of

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
Handler = Callable[[Request], Coroutine[Any, Any, Response]]

PROBLEMS: Final[Sequence[type[DomainError]]] = (TooManyAtOnce, ServerBusy)  # that requests for such work may get


class Work(NamedTuple):
    """A kind of work: how many requests may do it at the same time, and how long others wait."""

    name: str
    per_account: int
    per_worker: int
    wait_seconds: int
    refusal: type[DomainError] | None = None  # when an account is over its share; None: TooManyAtOnce
    max_waiting: int = 512  # requests
    max_waiting_of_account: int = 256


LISTS = Work("lists that an index serves", 4, 32, 10)
QUERIES = Work("other lists and searches", 1, 4, 10)
RECORDS = Work("lists of security events and of deliveries", 2, 8, 10)  # of which an account can have millions
STATISTICS = Work("statistics", 2, 4, 10)
EXPORTS = Work("exports", 2, 16, 10)
IMPORTS = Work("imports", 2, 8, 10)
BULK = Work("bulk", 1, 4, 10)
BY_FILTER = Work("changes by filter", 1, 4, 10)
LINKS = Work("previews of links", 4, 32, 10)
ANYBODY = ""  # in place of an account
LARGE_BODY_BYTES = 32 * 1024  # of JSON take about a millisecond to read
BODIES = Work("reading large bodies of other requests", 2, 8, 10)
BEGINNINGS = Work("answers that go on, as they begin", 8, 8, 10, ServerBusy, 10_000, 10_000)  # no caller is known yet


class Bulkhead:
    """The requests that do one kind of work. Waiting accounts take turns; within an account, the first to arrive goes first."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._running: Counter[str] = Counter()
        self._total = 0
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # the account whose turn is next comes first
        self._waiters = 0

    @asynccontextmanager
    async def admit(self, account: str, disconnect: Disconnect | None = None) -> AsyncIterator[None]:
        """Work of ``account``, which starts when it is its turn. A caller that disconnects while it waits is refused.

        Raises:
            TooManyAtOnce, or this work's own refusal: the account was at its own limit.
            ServerBusy: the worker was at its limit.
        """
        if account in self._waiting or not self._has_room(account):
            await self._wait(account, disconnect or Disconnect())
        else:
            self._enter(account)
        try:
            yield
        finally:
            self._leave(account)

    def _has_room(self, account: str) -> bool:
        return self._total < self._work.per_worker and self._running[account] < self._work.per_account

    def _enter(self, account: str) -> None:
        self._total += 1
        self._running[account] += 1

    def _leave(self, account: str) -> None:
        self._total -= 1
        self._running[account] -= 1
        if not self._running[account]:
            del self._running[account]
        while (following := next((each for each in self._waiting if self._has_room(each)), None)) is not None:
            queue = self._waiting.pop(following)
            turn = queue.popleft()
            self._waiters -= 1
            if queue:
                self._waiting[following] = queue  # behind the other accounts
            if not turn.done():  # otherwise it was abandoned
                self._enter(following)
                turn.set_result(None)
                return

    async def _wait(self, account: str, disconnect: Disconnect) -> None:
        queue = self._waiting.get(account, deque[asyncio.Future[None]]())
        if self._waiters >= self._work.max_waiting or len(queue) >= self._work.max_waiting_of_account:
            raise self._refusal(account)
        self._waiting[account] = queue
        turn = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self._waiters += 1
        try:
            with disconnect.watch(turn):
                async with asyncio.timeout(self._work.wait_seconds):
                    await turn
        except BaseException as error:
            if turn.cancelled() or turn.exception():
                self._forget(account, turn)
            else:  # it was admitted at the same moment
                self._leave(account)
            if isinstance(error, TimeoutError | ConnectionResetError):
                raise self._refusal(account) from None
            raise

    def _forget(self, account: str, turn: "asyncio.Future[None]") -> None:
        queue = self._waiting.get(account, deque())
        if turn in queue:  # otherwise its turn came after it was cancelled, and was passed on
            self._waiters -= 1
            queue.remove(turn)
            if not queue:
                del self._waiting[account]

    def _refusal(self, account: str) -> DomainError:
        work, waiting = self._work, len(self._waiting.get(account, ()))
        if self._running[account] >= work.per_account or waiting >= work.max_waiting_of_account:
            return work.refusal() if work.refusal else TooManyAtOnce(work.wait_seconds)
        return ServerBusy()


class Admission:
    """The bulkheads of one application. Requests in a bulkhead do not count towards its load."""

    def __init__(self, load: Load) -> None:
        self._bulkheads: dict[Work, Bulkhead] = {}  # each is created for the first request that does its work
        self._load = load

    @property
    def load(self) -> Load:
        """The requests outside the bulkheads."""
        return self._load

    @asynccontextmanager
    async def admit(self, work: Work, account: str, scope: Scope) -> AsyncIterator[None]:
        """``work`` for the request of ``scope``, which starts when it is its account's turn. Raises as ``Bulkhead.admit``."""
        bulkhead = self._bulkheads.get(work) or self._bulkheads.setdefault(work, Bulkhead(work))
        with self._load.without(scope["method"]):
            async with bulkhead.admit(account, of_scope(scope)):
                yield


def admit(work: Work, request: Request, account: str | None = None) -> AbstractAsyncContextManager[None]:
    """As ``Admission.admit``, for a request whose caller is known, or is about to be confirmed as ``account``."""
    account = account or state_of(request).account
    assert account, "the caller is not known yet"
    return services_of(request)[Admission].admit(work, account, request.scope)


def begins_in_turn(endpoint: Endpoint) -> Endpoint:
    """Marks a route's function: its answers go on, and take turns to begin. Thousands may come at once, after a restart."""
    endpoint.__dict__["begins_in_turn"] = True
    return endpoint


def takes_turns(endpoint: Callable[..., Any]) -> bool:
    """Whether a route's function is marked by ``begins_in_turn``."""
    return getattr(endpoint, "begins_in_turn", False)


def in_turn(handle: Handler) -> Handler:
    """As ``handle``, from the authentication to the beginning of the answer. Meanwhile requests do not count as load.

    Raises ServerBusy after ten seconds of waiting behind thousands of others.
    """

    async def handle_in_turn(request: Request) -> Response:
        async with services_of(request)[Admission].admit(BEGINNINGS, ANYBODY, request.scope):
            return await handle(request)

    return handle_in_turn


def limited(work: Work) -> Callable[[Endpoint], Endpoint]:
    """Decorator of a route's function: its requests do ``work``, from before their body is read until their response ends."""

    def mark(endpoint: Endpoint) -> Endpoint:
        endpoint.__dict__["work"] = work
        return endpoint

    return mark


def work_of(endpoint: Callable[..., Any]) -> Work | None:
    """The work that a route's function does, if it is limited."""
    work: Work | None = getattr(endpoint, "work", None)
    return work
