"""Sends the deliveries that are due, several at a time.

A slow receiver delays no other: each webhook and each host has few attempts at a time, and those that fail share half of what a
worker can do. Events of one task are sent one after the other, in their order.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from bson import ObjectId
from pymongo.errors import PyMongoError

from taskapi.accounts.auth.loaders import AccountLoader
from taskapi.core.clock import in_utc, utc_now
from taskapi.db import damaged
from taskapi.db.connection import BSON
from taskapi.webhooks.backoff import PATIENCE_WITH_WEBHOOK, next_attempt
from taskapi.webhooks.delivery_repository import DeliveryRepository, LeasedDelivery
from taskapi.webhooks.dispatch_repository import DispatchRepository
from taskapi.webhooks.documents import DisabledReason, WebhookDocument
from taskapi.webhooks.repository import WebhookRepository
from taskapi.webhooks.secrets import WebhookSecrets
from taskapi.webhooks.sender import Answer, WebhookSender
from taskapi.webhooks.signing import signature_headers

log = logging.getLogger(__name__)

MAX_IN_FLIGHT: Final = 100  # of this worker
MAX_FAILING: Final = 50  # of those, to receivers whose last attempt failed
MAX_PER_HOOK: Final = 3
AT_ONCE: Final = 16  # webhooks whose deliveries are looked for at the same time

Tell = Callable[[ObjectId], Awaitable[None]]  # the owner, that a webhook was disabled


class DeliveryWorker:
    """Sends deliveries. ``tell`` mails an owner; ``now`` is the clock by which attempts are scheduled."""

    def __init__(
        self,
        hooks: WebhookRepository,
        states: DispatchRepository,
        deliveries: DeliveryRepository,
        accounts: AccountLoader,
        secrets: WebhookSecrets,
        sender: WebhookSender,
        tell: Tell,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._hooks, self._states, self._deliveries, self._accounts = hooks, states, deliveries, accounts
        self._secrets, self._sender, self._tell, self._now = secrets, sender, tell, now
        self._attempts: dict[asyncio.Task[None], tuple[ObjectId, bool]] = {}  # the webhook of each, and whether it fails
        self.wake: Callable[[], None] = lambda: None

    async def run_due(self) -> None:
        """Begins what is due and has room, and returns. The end of each attempt wakes the job."""
        due = await self._deliveries.find_due_hooks()
        random.shuffle(due)
        hooks = await self._hooks.find_many(due)
        full = set[str]()
        for start in range(0, len(due), AT_ONCE):
            beginning = (self._begin_if_sound(hook_id, hooks.get(hook_id), full) for hook_id in due[start : start + AT_ONCE])
            for failure in filter(None, await asyncio.gather(*beginning, return_exceptions=True)):
                raise failure

    async def close(self) -> None:
        """Breaks off all attempts; what they were to send is due again."""
        for attempt in self._attempts:
            attempt.cancel()
        await asyncio.gather(*self._attempts, return_exceptions=True)

    async def finish(self) -> None:
        """Waits for the attempts in flight."""
        await asyncio.gather(*self._attempts, return_exceptions=True)

    async def _begin_if_sound(self, hook_id: ObjectId, hook: BSON | None, full: set[str]) -> None:
        """As ``_begin``; what a script has damaged keeps no other webhook from its events."""
        try:
            await self._begin(hook_id, hook, full)
        except (KeyError, TypeError, ValueError, AttributeError):
            damaged.note(WebhookDocument.Settings.name, hook_id, ["url", "enabled", "failing_since"])

    async def _begin(self, hook_id: ObjectId, hook: BSON | None, full: set[str]) -> None:
        """Begins attempts at deliveries to a webhook. Hosts that take no more in this turn are added to ``full``."""
        if hook is None:
            await self._deliveries.delete_for_hook(hook_id)  # deleted while its events were dispatched
            return
        if not hook["enabled"]:
            await self._deliveries.cancel(hook_id, "webhook_disabled")
            return
        if await self._accounts.get(hook["user"]) is None:
            await self._deliveries.cancel(hook_id, "account_inactive")
            return
        is_failing, host = hook["failing_since"] is not None, _host(hook["url"])
        if host in full or self._room(hook_id, is_failing=is_failing) <= 0:
            return
        for due in await self._deliveries.find_due(hook_id, 2 * MAX_PER_HOOK):
            if host in full or self._room(hook_id, is_failing=is_failing) <= 0:
                break
            if await self._deliveries.waits_for_another(hook_id, due):
                continue
            delivery = await self._deliveries.lease(due["_id"], host)
            if delivery is None:  # the host has as many as it may, or another worker was quicker
                full.add(host)
                break
            attempt = asyncio.create_task(self._attempt(delivery, hook), name="webhook")
            self._attempts[attempt] = hook_id, is_failing
            attempt.add_done_callback(self._ended)

    def _room(self, hook_id: ObjectId, *, is_failing: bool) -> int:
        """How many more attempts at deliveries to a webhook this worker may begin."""
        by_hook = Counter(each for each, _ in self._attempts.values())
        room = min(MAX_IN_FLIGHT - len(self._attempts), (1 if is_failing else MAX_PER_HOOK) - by_hook[hook_id])
        return min(room, MAX_FAILING - sum(failing for _, failing in self._attempts.values())) if is_failing else room

    def _ended(self, attempt: "asyncio.Task[None]") -> None:
        self._attempts.pop(attempt, None)
        self.wake()

    async def _attempt(self, delivery: LeasedDelivery, hook: BSON) -> None:
        try:
            answer = await self._send(delivery.stored, hook)
            if answer.is_success:
                await self._deliveries.finish(delivery, {"status": "delivered", **_outcome(answer, self._now())})
                if hook["failing_since"] is not None:
                    await self._hooks.note_success(hook["_id"])
            else:
                await self._put_off(delivery, hook, answer)
        except PyMongoError as error:
            log.warning("webhook delivery %s: %s; it will be repeated", delivery.stored["_id"], type(error).__name__)
        except asyncio.CancelledError:
            await self._deliveries.give_back(delivery)
            raise
        except Exception:
            log.exception("a webhook delivery failed in a new way; it will be repeated")

    async def _send(self, stored: BSON, hook: BSON) -> Answer:
        shared = self._secrets.current(hook)
        if not shared:
            return Answer(0, error="secret_unreadable")
        headers = signature_headers(f"msg_{stored['_id']}", int(utc_now().timestamp()), stored["body"], shared)
        return await self._sender.post(hook["url"], stored["body"], {"Content-Type": "application/json", **headers})

    async def _put_off(self, delivery: LeasedDelivery, hook: BSON, answer: Answer) -> None:
        """Schedules the next attempt, or gives the delivery up, or the webhook."""
        now, stored = self._now(), delivery.stored
        since = await self._hooks.note_failure(hook["_id"], now)
        due = next_attempt(stored["attempts"], now, in_utc(stored["give_up_at"]), answer.retry_after)
        state = {"status": "failed"} if due is None or answer.is_gone else {"next_attempt_at": due}
        await self._deliveries.finish(delivery, {**state, **_outcome(answer, now)})
        if answer.is_gone:
            await self._disable(hook, "gone")
        elif since is not None and now - in_utc(since) >= PATIENCE_WITH_WEBHOOK:
            await self._disable(hook, "failing")

    async def _disable(self, hook: BSON, reason: DisabledReason) -> None:
        if await self._hooks.disable(hook["_id"], reason):
            log.warning("a webhook was disabled", extra={"fields": {"webhook": str(hook["_id"]), "reason": reason}})
            await self._states.touch()
            await self._deliveries.cancel(hook["_id"], "webhook_disabled")
            await self._tell(hook["user"])


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def _outcome(answer: Answer, now: datetime) -> BSON:
    return {
        "attempted_at": now,
        "code": answer.code,
        "duration_ms": answer.duration_ms,
        "answer": answer.text,
        "error": answer.error,
    }
