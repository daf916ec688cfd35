"""Sends the deliveries that are due, several at a time.

A slow receiver delays no other: each webhook and each host has few attempts at a time, and those that fail share half of what a
worker can do. Events of one task are sent one after the other, in their order.
"""

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from bson import ObjectId
from pymongo.errors import OperationFailure, PyMongoError

from taskapi.accounts.auth.loaders import AccountLoader
from taskapi.core.clock import in_utc, utc_now
from taskapi.db import damaged
from taskapi.db.connection import BSON
from taskapi.webhooks.backoff import PATIENCE_WITH_WEBHOOK, next_attempt
from taskapi.webhooks.delivery_repository import DeliveryRepository, HostBusy, LeasedDelivery
from taskapi.webhooks.dispatch_repository import DispatchRepository
from taskapi.webhooks.documents import DisabledReason, WebhookDocument
from taskapi.webhooks.repository import WebhookRepository
from taskapi.webhooks.secrets import WebhookSecrets
from taskapi.webhooks.sender import Answer, WebhookSender
from taskapi.webhooks.signing import signature_headers

log = logging.getLogger(__name__)

MAX_IN_FLIGHT: Final = 100  # of this worker
MAX_FAILING: Final = 50  # of those, to receivers whose last attempt failed
MAX_PER_ACCOUNT: Final = 20
MAX_PER_HOOK: Final = 3
AT_ONCE: Final = 16  # hosts for whose webhooks deliveries are looked for at the same time

Tell = Callable[[ObjectId], Awaitable[None]]  # the owner, that a webhook was disabled


class _Attempt(NamedTuple):
    """An attempt that is under way."""

    hook_id: ObjectId
    user_id: ObjectId
    is_failing: bool  # the attempt before has failed


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
        self._attempts: dict[asyncio.Task[None], _Attempt] = {}
        self._beginning: list[_Attempt] = []  # what is being leased: their places are taken already
        self.wake: Callable[[], None] = lambda: None

    async def run_due(self) -> None:
        """Begins what is due and has room, and returns. The end of each attempt wakes the job."""
        due = await self._deliveries.find_due_hooks()
        random.shuffle(due)
        hooks = await self._hooks.find_many(due)
        groups = defaultdict[Any, list[ObjectId]](list)  # those for one host one after another: it soon has as many as it may
        for hook_id in due:
            groups[_host_of(hooks.get(hook_id)) or hook_id].append(hook_id)
        waiting = list(groups.values())
        for start in range(0, len(waiting), AT_ONCE):
            beginning = (self._begin_group(group, hooks) for group in waiting[start : start + AT_ONCE])
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

    async def _begin_group(self, hook_ids: Sequence[ObjectId], hooks: Mapping[ObjectId, BSON]) -> None:
        """As ``_begin``, for several webhooks; what a script has damaged keeps no other from its events."""
        for hook_id in hook_ids:
            try:
                await self._begin(hook_id, hooks.get(hook_id))
            except HostBusy:
                return
            except (OperationFailure, KeyError, TypeError, ValueError, AttributeError) as error:
                log.warning("deliveries to webhook %s: %s; they will be tried again", hook_id, type(error).__name__)

    async def _begin(self, hook_id: ObjectId, hook: BSON | None) -> None:
        """Begins attempts at deliveries to a webhook. Raises HostBusy."""
        if hook is None:
            await self._deliveries.delete_for_hook(hook_id)  # deleted while its events were dispatched
            return
        if not hook.get("enabled"):
            await self._deliveries.cancel(hook_id, "webhook_disabled")
            return
        user = hook.get("user")
        if not isinstance(user, ObjectId) or await self._accounts.get(user) is None:
            await self._deliveries.cancel(hook_id, "account_inactive")
            return
        like = _Attempt(hook_id, user, hook.get("failing_since") is not None)
        host = _host_of(hook) or str(hook_id)
        if not self._has_room(like):
            return
        waiting = list[Any]()  # tasks whose first event is not due; what a script stored in their place may have no hash
        for due in await self._deliveries.find_due(hook_id, 2 * MAX_PER_HOOK):
            if due.get("task") in waiting or await self._deliveries.waits_for_another(hook_id, due):
                waiting.append(due["task"])
                continue
            if not self._has_room(like):
                break
            self._beginning.append(like)
            try:
                delivery = await self._deliveries.lease(due["_id"], host)
            finally:
                self._beginning.remove(like)
            if delivery is not None:
                attempt = asyncio.create_task(self._attempt(delivery, hook), name="webhook")
                self._attempts[attempt] = like
                attempt.add_done_callback(self._ended)

    def _has_room(self, like: _Attempt) -> bool:
        """Whether this worker may begin another attempt of this kind."""
        others = [*self._attempts.values(), *self._beginning]
        if len(others) >= MAX_IN_FLIGHT or sum(each.user_id == like.user_id for each in others) >= MAX_PER_ACCOUNT:
            return False
        if like.is_failing and sum(each.is_failing for each in others) >= MAX_FAILING:
            return False
        return sum(each.hook_id == like.hook_id for each in others) < (1 if like.is_failing else MAX_PER_HOOK)

    def _ended(self, attempt: "asyncio.Task[None]") -> None:
        self._attempts.pop(attempt, None)
        self.wake()

    async def _attempt(self, delivery: LeasedDelivery, hook: BSON) -> None:
        try:
            answer = await self._send(delivery.stored, hook)
            if answer.is_success:
                await self._deliveries.finish(delivery, {"status": "delivered"}, _outcome(answer, self._now()))
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
        """What comes of sending a delivery. Whatever prevents it, a damaged body for example, is a failure like any other."""
        if _host_of(hook) is None:
            damaged.note(WebhookDocument.Settings.name, hook["_id"], ["url"])
            return Answer(0, error="refused")
        shared = self._secrets.current(hook)
        if not shared:
            return Answer(0, error="secret_unreadable")
        try:
            headers = signature_headers(f"msg_{stored['_id']}", int(utc_now().timestamp()), stored["body"], shared)
            return await self._sender.post(hook["url"], stored["body"], {"Content-Type": "application/json", **headers})
        except Exception:
            log.exception("webhook delivery %s could not be sent", stored["_id"])
            return Answer(0)

    async def _put_off(self, delivery: LeasedDelivery, hook: BSON, answer: Answer) -> None:
        """Schedules the next attempt, or gives the delivery up, or the webhook."""
        now, stored = self._now(), delivery.stored
        since = await self._hooks.note_failure(hook, now)
        reason: DisabledReason | None = None
        if answer.is_gone:
            reason = "gone"
        elif isinstance(since, datetime) and now - in_utc(since) >= PATIENCE_WITH_WEBHOOK:
            reason = "failing"
        is_over = reason is not None and await self._hooks.disable(hook, reason)
        give_up_at = stored.get("give_up_at")
        until = in_utc(give_up_at) if isinstance(give_up_at, datetime) else now  # a script has damaged it
        due = next_attempt(max(damaged.integer(stored["attempts"]), 1), now, until, answer.retry_after)
        state = {"status": "failed"} if due is None or is_over else {"next_attempt_at": due}
        await self._deliveries.finish(delivery, state, _outcome(answer, now))
        if is_over:
            log.warning("a webhook was disabled", extra={"fields": {"webhook": str(hook["_id"]), "reason": reason}})
            await self._states.touch()
            await self._deliveries.cancel(hook["_id"], "webhook_disabled")
            await self._tell(hook["user"])


def _host_of(hook: BSON | None) -> str | None:
    """The host that a webhook sends to; None if it sends nothing, or a script has damaged it."""
    try:
        return _host(hook["url"]) if hook is not None and hook["enabled"] else None
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


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
