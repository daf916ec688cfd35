"""Turns changes of tasks into deliveries: one worker at a time, which goes on from the stored place.

Deliveries are stored before the place moves on, and each event once for a webhook. So a worker that is killed loses nothing, and
what the next one reads again changes nothing.
"""

import asyncio
import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bson import ObjectId, Timestamp

from taskapi.accounts.auth.loaders import AccountLoader
from taskapi.accounts.users.schemas import UserRead
from taskapi.core.clock import utc_now
from taskapi.core.cooperative import CooperativeYield
from taskapi.core.errors import DomainError
from taskapi.db import damaged
from taskapi.db.change_streams import HistoryLost, StreamsUnsupported, time_of
from taskapi.db.connection import BSON
from taskapi.db.leases import Lease
from taskapi.events.filters import EventFilter, FilteredChanges
from taskapi.events.positions import Position, PositionCodec
from taskapi.events.rendering import EventReader, EventRenderer, OwnChange
from taskapi.tasks.services.changes import Change, ChangeBatch, TaskChanges
from taskapi.webhooks import payloads
from taskapi.webhooks.deliveries import new_delivery
from taskapi.webhooks.delivery_repository import DeliveryRepository
from taskapi.webhooks.dispatch_repository import DispatchRepository, LeaseLost, Place
from taskapi.webhooks.documents import WebhookDocument
from taskapi.webhooks.repository import WebhookRepository

log = logging.getLogger(__name__)

AT_A_TIME = 100  # changes, each of which may be of a large task and go to twenty webhooks
RENEWAL_SECONDS = 3.0
REREADING_SECONDS = 60.0  # for webhooks that a worker has stored, but was killed before it announced them
IDLE_PLACE_SECONDS = 10.0  # between two times that the place is stored while nothing happens


@dataclass(slots=True)
class _Work:
    """What the worker that dispatches knows."""

    lease: Lease
    place: Place
    generation: int = 0
    hooks: dict[ObjectId, list[BSON]] = field(default_factory=dict)  # by their owners
    room: dict[ObjectId, int] = field(default_factory=dict)  # for deliveries to webhooks, until they are counted again
    renewed: float = 0.0
    read: float = 0.0
    saved: float = field(default_factory=time.monotonic)


class _Events:
    """The events of one account as they are sent, each rendered once for all of its webhooks."""

    def __init__(self, renderer: EventRenderer, user: UserRead, tasks_path: str) -> None:
        self._renderer, self._user, self._tasks_path = renderer, user, tasks_path
        self._rendered: dict[OwnChange, tuple[str, bytes]] = {}  # the position and the body
        self._turns = CooperativeYield()

    async def delivery(self, own: OwnChange, hook_id: ObjectId) -> BSON:
        """A new delivery of an event to a webhook."""
        await self._turns.checkpoint()
        position, body = self._rendered.get(own) or self._rendered.setdefault(own, self._render(own))
        delivery = new_delivery(self._user.object_id, hook_id, own.type.value, own.change.token, body)
        return {**delivery, "position": position, "task": own.change.task_id}

    def _render(self, own: OwnChange) -> tuple[str, bytes]:
        event, change = self._renderer.render(own, EventReader.of(self._user)), own.change
        body = payloads.task_event(own.type.value, change.at, event.json, f"{self._tasks_path}/{change.task_id}")
        return event.id, body


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """Dispatches events. ``wake`` has this worker send what is due; ``tasks_path`` is the path of tasks as callers send it."""

    changes: TaskChanges
    renderer: EventRenderer
    positions: PositionCodec
    accounts: AccountLoader
    states: DispatchRepository
    hooks: WebhookRepository
    deliveries: DeliveryRepository
    wake: Callable[[], None]
    tasks_path: str

    async def run(self) -> None:
        """Dispatches until there are no webhooks; returns at once while another worker does."""
        try:
            await self._run()
        except StreamsUnsupported as error:
            log.error("nothing is sent to webhooks: %s", error.detail)
            await asyncio.sleep(60)

    async def _run(self) -> None:
        await self._begin_if_forgotten()
        taken = await self.states.take()
        if taken is None:
            return
        work = _Work(taken[0], self.states.place(taken[1]))
        try:
            while not await self._follow(work):
                pass
        except LeaseLost:
            log.info("another worker dispatches to webhooks")
        finally:
            await self.states.release(work.lease)

    async def _begin_if_forgotten(self) -> None:
        """Begins now if there are webhooks without a place: a worker was killed just after it stored the first one."""
        if not await self.states.exists() and await self.hooks.is_any_enabled():
            await self.states.announce(await self.changes.now())

    async def _follow(self, work: _Work) -> bool:
        """Dispatches from the place on. True when there are no webhooks; False to go on after a gap."""
        if await self._renew(work):
            return True
        try:
            if work.place.is_elsewhere:  # to a new MongoDB, it may mean its first change: all that was restored
                raise HistoryLost
            async with self.changes.watch(after=work.place.token, since=work.place.time) as batches:
                async for batch in batches:
                    if await self._take(work, batch):
                        return True
        except HistoryLost:
            await self._tell_of_gap(work)
        return False

    async def _take(self, work: _Work, batch: ChangeBatch) -> bool:
        """Dispatches a batch. True when there are no webhooks."""
        changes = batch.changes
        for start in range(0, len(changes), AT_A_TIME):
            if await self._renew(work):  # whoever was told that a webhook exists gets the changes that follow
                return True
            some = changes[start : start + AT_A_TIME]
            await self._dispatch(work, some)
            await self._move_on(work, some[-1].token)
        if time.monotonic() - work.renewed > RENEWAL_SECONDS and await self._renew(work):
            return True
        if not changes and time.monotonic() - work.saved > IDLE_PLACE_SECONDS:
            await self._move_on(work, batch.token)
        return False

    async def _move_on(self, work: _Work, token: str) -> None:
        """Stores that everything up to the place of a resume token was dispatched."""
        work.place, work.saved = Place(token=token), time.monotonic()
        await self.states.save_place(work.lease, work.place)

    async def _renew(self, work: _Work) -> bool:
        """Renews the lease, and reads the webhooks if they have changed. True when there are none, and the work is over."""
        generation = await self.states.renew(work.lease)
        work.renewed = time.monotonic()
        if generation != work.generation or work.renewed - work.read > REREADING_SECONDS:
            work.hooks, work.room, work.generation, work.read = {}, {}, generation, work.renewed
            for hook in await self.hooks.find_enabled():
                if isinstance(hook.get("user"), ObjectId):
                    work.hooks.setdefault(hook["user"], []).append(hook)
        return not work.hooks and await self.states.stop(work.lease, generation)

    async def _dispatch(self, work: _Work, changes: Sequence[Change]) -> None:
        found = await self.changes.current(changes, work.hooks.keys())
        by_owner = defaultdict[ObjectId, list[OwnChange]](list)
        for change in changes:
            if task := found.get(change.task_id):
                by_owner[task.owner_id].append(OwnChange(change, task))
        users = await asyncio.gather(*(self.accounts.get(owner_id) for owner_id in by_owner))
        for user in users:
            if user is not None:  # a disabled account gets nothing
                await self._deliver(work, user, by_owner[user.object_id])

    async def _deliver(self, work: _Work, user: UserRead, changes: Sequence[OwnChange]) -> None:
        """Stores the deliveries of an account, webhook by webhook. Raises LeaseLost."""
        events = _Events(self.renderer, user, self.tasks_path)
        for hook in work.hooks[user.object_id]:
            if time.monotonic() - work.renewed > RENEWAL_SECONDS:
                await self.states.renew(work.lease)
                work.renewed = time.monotonic()
            deliveries = list[BSON]()
            for own in await self._chosen_if_sound(hook, user, changes):
                try:
                    deliveries.append(await events.delivery(own, hook["_id"]))
                except Exception:  # otherwise nobody would get anything any more
                    log.exception("an event of the task %s cannot be rendered, and is not sent", own.change.task_id)
            if deliveries:
                await self._make_room(work, hook["_id"], user.object_id, changes[0].change, len(deliveries))
                await self.deliveries.add(deliveries)
                self.wake()

    async def _chosen_if_sound(self, hook: BSON, user: UserRead, changes: Sequence[OwnChange]) -> list[OwnChange]:
        """As ``_chosen``; none for a webhook that a script has damaged, which must not keep others from their events."""
        try:
            return await self._chosen(hook, user, changes)
        except (KeyError, TypeError, ValueError, AttributeError, DomainError):
            damaged.note(WebhookDocument.Settings.name, hook["_id"], ["events", "where", "begins_after"])
            return []

    async def _chosen(self, hook: BSON, user: UserRead, changes: Sequence[OwnChange]) -> list[OwnChange]:
        """Those of the changes that a webhook is told of."""
        wanted, begin = set(hook["events"]), Place.read(hook["begins_after"]).time
        changes = [own for own in changes if begin is None or own.change.time > begin]
        if hook["where"]:
            wanted_tasks = EventFilter.model_construct(where=json.loads(hook["where"]))
            changes = await FilteredChanges(wanted_tasks, user.object_id, self.changes).choose(changes)
        return [own for own in changes if own.type.value in wanted]

    async def _make_room(self, work: _Work, hook_id: ObjectId, user: ObjectId, following: Change, number: int) -> None:
        """Drops the pending events of a webhook if so many more would be too many; first tells the receiver where to catch up."""
        if work.room.get(hook_id, 0) < number:
            work.room[hook_id] = await self.deliveries.room(hook_id)
        work.room[hook_id] -= number
        if work.room[hook_id] >= 0 or (first := await self.deliveries.first_pending(hook_id, following.token)) is None:
            return
        log.warning("too many events are pending for a webhook", extra={"fields": {"webhook": str(hook_id)}})
        position, since = [self.positions.write(_before(token), user) for token in (following.token, first)]
        body = payloads.overflow(utc_now(), position, since)
        told = new_delivery(user, hook_id, payloads.GAP, f"webhook overflow {following.token}", body)
        await self.deliveries.add([{**told, "position": position}])
        await self.deliveries.drop_pending(hook_id, following.token)  # not what another worker may have stored meanwhile

    async def _tell_of_gap(self, work: _Work) -> None:
        """Tells all receivers that events were lost, and goes on from now."""
        now, lost = await self.changes.now(), work.place.write()
        log.error("changes before %s can no longer be read: webhooks are told of a gap", now.as_datetime())
        told = []
        for user, hooks in work.hooks.items():
            position = self.positions.write(Position(now), user)
            body = payloads.gap(utc_now(), position)
            known = [new_delivery(user, hook["_id"], payloads.GAP, f"webhook gap {lost}", body) for hook in hooks]
            told += [{**delivery, "position": position} for delivery in known]
        await self.deliveries.add(told)
        work.place = Place(time=now)
        await self.states.save_place(work.lease, work.place)
        self.wake()


def _before(token: str) -> Position:
    """A position just before the place of a resume token; the earliest one if a script has stored another text."""
    try:
        return Position(Timestamp(time_of(token).time, 0))
    except ValueError:
        return Position(Timestamp(0, 0))
