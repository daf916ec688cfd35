"""Turns changes of tasks into deliveries: one worker at a time, which goes on from the stored place.

Deliveries are stored before the place moves on, and each event once for a webhook. So a worker that is killed loses nothing, and
what the next one reads again changes nothing.
"""

import asyncio
import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from bson import ObjectId

from taskapi.accounts.auth.loaders import AccountLoader
from taskapi.accounts.users.schemas import UserRead
from taskapi.core.clock import utc_now
from taskapi.core.cooperative import CooperativeYield
from taskapi.core.errors import DomainError
from taskapi.db import damaged
from taskapi.db.change_streams import HistoryLost, StreamsUnsupported
from taskapi.db.connection import BSON
from taskapi.db.leases import Lease
from taskapi.events.filters import EventFilter, FilteredChanges
from taskapi.events.positions import Position, PositionCodec
from taskapi.events.rendering import EventRenderer, OwnChange, RenderedEvent
from taskapi.tasks.services.changes import ChangeBatch, TaskChanges
from taskapi.webhooks import payloads
from taskapi.webhooks.deliveries import new_delivery
from taskapi.webhooks.delivery_repository import DeliveryRepository
from taskapi.webhooks.dispatch_repository import DispatchRepository, LeaseLost, Place
from taskapi.webhooks.documents import WebhookDocument
from taskapi.webhooks.repository import WebhookRepository

log = logging.getLogger(__name__)

RENEWAL_SECONDS = 3.0
IDLE_PLACE_SECONDS = 10.0  # between two times that the place is stored while nothing happens


@dataclass(slots=True)
class _Work:
    """What the worker that dispatches knows."""

    lease: Lease
    place: Place
    generation: int = 0
    hooks: dict[ObjectId, list[BSON]] = field(default_factory=dict)  # by their owners
    renewed: float = 0.0
    saved: float = field(default_factory=time.monotonic)


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
        await self._begin_if_forgotten()
        taken = await self.states.take()
        if taken is None:
            return
        work = _Work(taken[0], Place.read(taken[1]["place"]))
        try:
            while not await self._follow(work):
                pass
        except LeaseLost:
            log.info("another worker dispatches to webhooks")
        except StreamsUnsupported as error:
            log.error("nothing is sent to webhooks: %s", error.detail)
            await asyncio.sleep(60)
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
            async with self.changes.watch(after=work.place.token, since=work.place.time) as batches:
                async for batch in batches:
                    if await self._take(work, batch):
                        return True
        except HistoryLost:
            await self._tell_of_gap(work)
        return False

    async def _take(self, work: _Work, batch: ChangeBatch) -> bool:
        """Dispatches a batch. True when there are no webhooks."""
        is_due = batch.changes or time.monotonic() - work.renewed > RENEWAL_SECONDS
        if is_due and await self._renew(work):  # whoever was told that a webhook exists gets the changes that follow
            return True
        if batch.changes:
            await self._dispatch(work, batch)
        if batch.changes or time.monotonic() - work.saved > IDLE_PLACE_SECONDS:
            work.place, work.saved = Place(token=batch.token), time.monotonic()
            await self.states.save_place(work.lease, work.place)
        return False

    async def _renew(self, work: _Work) -> bool:
        """Renews the lease, and reads the webhooks if they have changed. True when there are none, and the work is over."""
        generation = await self.states.renew(work.lease)
        work.renewed = time.monotonic()
        if generation != work.generation:
            work.hooks, work.generation = {}, generation
            for hook in await self.hooks.find_enabled():
                if isinstance(hook.get("user"), ObjectId):
                    work.hooks.setdefault(hook["user"], []).append(hook)
        return not work.hooks and await self.states.stop(work.lease, generation)

    async def _dispatch(self, work: _Work, batch: ChangeBatch) -> None:
        found = await self.changes.current(batch.changes, work.hooks.keys())
        by_owner = defaultdict[ObjectId, list[OwnChange]](list)
        for change in batch.changes:
            if task := found.get(change.task_id):
                by_owner[task.owner_id].append(OwnChange(change, task))
        users = await asyncio.gather(*(self.accounts.get(owner_id) for owner_id in by_owner))
        deliveries: list[BSON] = []
        for user in users:
            if user is not None:  # a disabled account gets nothing
                deliveries += await self._deliveries_of(user, by_owner[user.object_id], work.hooks[user.object_id])
        await self.deliveries.add(deliveries)
        if deliveries:
            self.wake()

    async def _deliveries_of(self, user: UserRead, changes: Sequence[OwnChange], hooks: Iterable[BSON]) -> list[BSON]:
        turns, rendered = CooperativeYield(), dict[OwnChange, RenderedEvent]()
        made = list[BSON]()
        for hook in hooks:
            for own in await self._chosen_if_sound(hook, user, changes):
                event = rendered.get(own) or rendered.setdefault(own, self.renderer.render(own, user))
                await turns.checkpoint()
                change, kind = own.change, own.type.value
                address = f"{self.tasks_path}/{change.task_id}"
                body = payloads.task_event(kind, change.at, event.json, address)
                delivery = new_delivery(user.object_id, hook["_id"], kind, change.token, body)
                made.append({**delivery, "position": event.id, "task": change.task_id})
        return made

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
