"""The feed: one change stream for each worker, whose changes go to all who follow the events of their accounts.

It opens when the first one follows, and closes a minute after the last one has left. The last changes stay in memory, for
those who come back after a broken connection; who comes back later is told from MongoDB's oplog. A batch of changes costs one
query for the tasks of those who listen. Nobody is asked for anything when tasks are written.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import AsyncGenerator, Collection, Iterator
from contextlib import aclosing, contextmanager
from itertools import takewhile
from math import inf

from bson import ObjectId, Timestamp
from pymongo.errors import PyMongoError

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.errors import DatabaseUnavailable
from taskapi.db.change_streams import HistoryLost, StreamsUnsupported
from taskapi.events.catch_up import CatchUp
from taskapi.events.errors import OtherDatabase
from taskapi.events.follower import Accept, End, EndReason, Follower, Heartbeat, Hello, Message, Reset, ResetReason
from taskapi.events.positions import Position, PositionCodec
from taskapi.events.rendering import EventReader, EventRenderer, OwnChange
from taskapi.tasks.services.changes import Change, ChangeBatch, TaskChanges
from taskapi.tasks.storage.change_repository import StoredTask

log = logging.getLogger(__name__)

REMEMBERED = 20_000  # changes, of some 500 bytes each
REMEMBERED_SECONDS = 60  # before the feed opened, as far as the oplog goes back
IDLE_SECONDS = 60
OPENING_SECONDS = 10
RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)
TICK_SECONDS = 0.25
READING_SECONDS, LOOK_SECONDS = 0.5, 0.005
MAX_WAITS, WAITS_SECONDS = 10, 60.0  # for followers that did not read meanwhile, of all accounts together
NOWHERE = Position(Timestamp(0, 0))


class ChangeFeed:
    """Tells followers what happens."""

    def __init__(self, changes: TaskChanges, renderer: EventRenderer, positions: PositionCodec) -> None:
        self._changes, self._renderer, self._positions = changes, renderer, positions
        self._followers: dict[ObjectId, tuple[Follower, ...]] = {}  # a set of one takes four times as much
        self._recent: deque[Change] = deque(maxlen=REMEMBERED)
        self._waits, self._waits_since = 0, -inf  # for followers that did not read, in this minute
        self._oldest = self._place = NOWHERE  # the recent changes are all between the two; the followers have what is before
        self._reading: asyncio.Task[None] | None = None
        self._opened = asyncio.Event()
        self._catch_up = CatchUp(changes, renderer)
        self._ticking: asyncio.TimerHandle | None = None
        self._stopping = False

    def add(self, user: EventReader, accept: Accept | None = None) -> Follower:
        """A follower of the events of ``user``, until ``remove``, who is told of those that ``accept`` returns."""
        follower = Follower(user, accept)
        if self._stopping:
            follower.end(EndReason.server_stopping)
        self._followers[follower.user.object_id] = (*self._followers.get(follower.user.object_id, ()), follower)
        if self._ticking is None:
            self._ticking = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)
        return follower

    def remove(self, follower: Follower) -> None:
        """Has nothing more told to a follower."""
        owner_id = follower.user.object_id
        self._followers[owner_id] = tuple(each for each in self._followers[owner_id] if each is not follower)
        if not self._followers[owner_id]:
            del self._followers[owner_id]

    def refresh(self, user: UserRead) -> None:
        """Has those who follow ``user`` told of it as it is now: its name may be another."""
        for follower in self._followers.get(user.object_id, ()):
            if follower.user.username != user.username:
                follower.user = follower.user._replace(username=user.username)

    @contextmanager
    def join(self, user: EventReader, accept: Accept | None = None) -> Iterator[Follower]:
        """A follower for the block, as ``add`` returns it."""
        follower = self.add(user, accept)
        try:
            yield follower
        finally:
            self.remove(follower)

    async def messages(self, follower: Follower, since: str | None, heartbeat: float = inf) -> AsyncGenerator[Message, None]:
        """What a follower is told: first the place where it begins, then each event; ``End`` is the last.

        With ``heartbeat``, there is one after at most so many seconds without anything to tell: the position is never old.

        Raises:
            InvalidPosition: ``since`` is not a position of the follower's account.
            StreamsUnsupported: MongoDB is standalone.
            DatabaseUnavailable, PyMongoError: MongoDB cannot be reached now. After the first message, that is waited for instead.
        """
        place, reason = await self._start(follower, since)
        owner_id = follower.user.object_id
        reached = self._place  # what comes after it waits for the follower
        yield self._begin(place, reason, owner_id)
        is_told = False  # what was missed
        while not (is_told or follower.ended):
            try:
                async with aclosing(self._missed(place, reached, follower)) as missed:
                    async for changes in missed:
                        for own in await follower.choose(changes, place):
                            yield self._renderer.render(own, follower.user)
                        if changes:
                            place = Position.behind(changes[-1].change.token)
                del missed  # a follower keeps it otherwise, maybe for days
                is_told = True
            except HistoryLost:
                follower.start_anew(ResetReason.expired)
                is_told = True
            except PyMongoError:
                await asyncio.sleep(RETRY_SECONDS[-1])
        # Not all at once, when many come back together.
        follower.beat_at = time.monotonic() + heartbeat * random.random()  # noqa: S311  # nosec B311
        while True:
            changes = await follower.take()
            if follower.ended:
                yield End(follower.ended)
                return
            reached = self._place  # which what was just taken is before
            if follower.reset:
                reason, follower.reset = follower.reset, None
                place = reached
                follower.beat_at = time.monotonic() + heartbeat
                yield Reset(reason, self._positions.write(place, owner_id))
                continue
            chosen = await follower.choose(changes, place)
            for own in chosen:
                yield self._renderer.render(own, follower.user)
            now = time.monotonic()
            if chosen:
                follower.beat_at = now + heartbeat
            elif now >= follower.beat_at:
                follower.beat_at = now + heartbeat
                place = reached if place.is_earlier(reached) else place
                yield Heartbeat(self._positions.write(place, owner_id))

    def stop(self) -> None:
        """Ends all followers, because the server stops."""
        self._stopping = True
        for follower in self._all_followers():
            follower.end(EndReason.server_stopping)

    async def close(self) -> None:
        """Stops reading."""
        self.stop()
        if self._ticking:
            self._ticking.cancel()
        if self._reading:
            self._reading.cancel()
            await asyncio.wait([self._reading])

    def _begin(self, place: Position, reason: ResetReason | None, owner_id: ObjectId) -> Message:
        text = self._positions.write(place, owner_id)
        return Reset(reason, text) if reason else Hello(text)

    async def _start(self, follower: Follower, since: str | None) -> tuple[Position, ResetReason | None]:
        """Where a follower begins, and why that is not where it wants to."""
        wanted, reason = None, None
        try:
            wanted = self._positions.read(since, follower.user.object_id) if since is not None else None
        except OtherDatabase:
            reason = ResetReason.other_database
        now = await self._changes.now()
        await self._open(now)
        if wanted and wanted.page:
            wanted = wanted.before_page()
            reason = None if wanted else ResetReason.incomplete
        if wanted and wanted.time > now:
            wanted, reason = None, ResetReason.ahead
        return wanted or Position(now), reason

    async def _open(self, now: Timestamp) -> None:
        """Has the feed read. Raises DatabaseUnavailable."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read(now), name="change feed")
        try:
            async with asyncio.timeout(OPENING_SECONDS):
                await self._opened.wait()
        except TimeoutError:
            raise DatabaseUnavailable from None

    def _missed(self, place: Position, reached: Position, follower: Follower) -> AsyncGenerator[list[OwnChange], None]:
        """The changes of the follower's tasks between two places. Iterating over them raises HistoryLost."""
        if place.is_earlier(self._oldest):
            return self._catch_up.from_oplog(place, reached, follower.user)
        later = takewhile(lambda each: place.is_before(each.token), reversed(self._recent)) if place.is_earlier(reached) else ()
        return self._catch_up.from_memory(list(later)[::-1], follower.user)

    async def _read(self, now: Timestamp) -> None:
        """Reads the change stream, until nobody has followed for a minute."""
        begin = Position(now)  # what is lost before it is no loss to anybody
        self._forget(Position(Timestamp(now.time - REMEMBERED_SECONDS, 0)))
        failures, is_lost, idle_since = 0, False, time.monotonic()
        try:
            while True:
                try:
                    if is_lost:
                        await self._begin_anew()
                        is_lost = False
                    async with self._changes.watch(after=self._place.token, since=self._place.time_only) as batches:
                        async for batch in batches:
                            await self._tell(batch)
                            if not self._place.is_earlier(begin):
                                self._opened.set()
                            failures = 0
                            if self._followers:
                                idle_since = time.monotonic()
                            elif time.monotonic() - idle_since > IDLE_SECONDS:
                                return
                except HistoryLost:
                    is_lost = True
                except (PyMongoError, DatabaseUnavailable, StreamsUnsupported) as error:
                    if not failures:
                        log.warning("the feed of events waits for MongoDB: %s", type(error).__name__)
                    await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
                    failures += 1
                except Exception as error:  # otherwise all would go on to wait, for what never comes
                    log.error("the feed of events failed: %s", type(error).__name__, exc_info=error)
                    is_lost = True
        finally:
            self._opened.clear()

    async def _begin_anew(self) -> None:
        """Goes on from now. Followers miss something, unless the feed has just been opened."""
        self._forget(Position(await self._changes.now()))
        if self._opened.is_set():
            log.warning("the feed of events cannot go on from where it was: all who follow start anew")
            for follower in self._all_followers():
                follower.start_anew(ResetReason.history_lost)

    def _forget(self, place: Position) -> None:
        self._recent.clear()
        self._oldest = self._place = place

    async def _tell(self, batch: ChangeBatch) -> None:
        """Gives a batch of changes to those who follow them, those too who join meanwhile.

        Until the feed is open, everybody waits for that, and is told from memory what they have missed.
        """
        found: dict[ObjectId, StoredTask] = {}
        known: set[ObjectId] = set()
        while batch.changes and self._opened.is_set() and (joined := self._followers.keys() - known):
            found |= await self._changes.current(batch.changes, joined)
            known |= joined
        own: dict[ObjectId, list[OwnChange]] = {}
        for change in batch.changes:
            if task := found.get(change.task_id):
                own.setdefault(task.owner_id, []).append(OwnChange(change, task))
        for owner_id, changes in own.items():
            for follower in self._followers.get(owner_id, ()):
                follower.put(changes)
        for change in batch.changes:
            if len(self._recent) == REMEMBERED:
                self._oldest = Position.behind(self._recent[0].token)
            self._recent.append(change)
        self._place = Position.behind(batch.token)
        await self._let_read(own)

    async def _let_read(self, owners: Collection[ObjectId]) -> None:
        """Waits a moment while much waits for followers: a burst would make those slow who read as fast as they can.

        One who does not read makes others wait once, until it reads again, and all of them together ``MAX_WAITS`` times a minute.
        """
        now = time.monotonic()
        if now - self._waits_since > WAITS_SECONDS:
            self._waits, self._waits_since = 0, now
        while self._waits < MAX_WAITS and (full := self._half_full(owners)):
            if time.monotonic() - now > READING_SECONDS:
                self._waits += 1
                for follower in full:
                    follower.is_given_up = True
            await asyncio.sleep(LOOK_SECONDS)

    def _half_full(self, owners: Collection[ObjectId]) -> list[Follower]:
        followers = (each for owner_id in owners for each in self._followers.get(owner_id, ()))
        return [each for each in followers if each.is_half_full and not each.is_given_up]

    def _tick(self) -> None:
        """One timer for the heartbeats of all followers: thousands of timers would take more memory."""
        now = time.monotonic()
        for follower in self._all_followers():
            follower.beat(now)
        self._ticking = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick) if self._followers else None

    def _all_followers(self) -> Iterator[Follower]:
        for followers in self._followers.values():
            yield from followers
