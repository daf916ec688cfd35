"""What owners do with their webhooks."""

import json
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from bson import ObjectId

from taskapi.accounts.users.schemas import UserRead
from taskapi.audit.recorder import AuditLog
from taskapi.core.clock import in_utc, utc_now
from taskapi.core.errors import FieldError, InvalidInput, NotFound
from taskapi.core.public_addresses import is_public
from taskapi.db import damaged
from taskapi.db.connection import BSON
from taskapi.tasks.services.changes import TaskChanges
from taskapi.web.pagination import Page
from taskapi.webhooks import payloads
from taskapi.webhooks.backoff import PATIENCE
from taskapi.webhooks.deliveries import new_delivery
from taskapi.webhooks.delivery_repository import DeliveryRepository
from taskapi.webhooks.dispatch_repository import DispatchRepository, Place
from taskapi.webhooks.documents import WebhookDeliveryDocument, WebhookDocument
from taskapi.webhooks.errors import TooManyWebhooks, WebhookChanged, WebhookDisabled
from taskapi.webhooks.repository import WebhookRepository
from taskapi.webhooks.schemas import (
    DeliveryQuery,
    DeliveryRead,
    ExportedDelivery,
    WebhookCreate,
    WebhookMade,
    WebhookRead,
    WebhookUpdate,
)
from taskapi.webhooks.secrets import OVERLAP, WebhookSecrets
from taskapi.webhooks.signing import new_secret

SOURCE: Final = WebhookDocument.Settings.name
DELIVERIES: Final = WebhookDeliveryDocument.Settings.name


@dataclass(frozen=True, slots=True)
class WebhookService:
    """Creates, changes and deletes webhooks, and shows what was delivered.

    ``dispatch`` and ``deliver`` wake the jobs of this worker.
    ``allow_private``: whether receivers may be at private addresses and called without encryption, which is for tests only.
    """

    hooks: WebhookRepository
    deliveries: DeliveryRepository
    states: DispatchRepository
    changes: TaskChanges
    secrets: WebhookSecrets
    dispatch: Callable[[], None]
    deliver: Callable[[], None]
    allow_private: bool
    milliseconds: int

    async def create(
        self, user: UserRead, data: WebhookCreate, audit_log: AuditLog, confirm: Callable[[], Awaitable[object]]
    ) -> WebhookMade:
        """Creates a webhook. The events of all changes after the return are sent.

        ``confirm`` looks the caller up again once it is stored, so that an ended session cannot leave one behind.

        Raises:
            Exception: what ``confirm`` raises, InvalidToken for example; there is no webhook.
            StreamsUnsupported: MongoDB is standalone.
            InvalidInput: the URL is not https, or not on the public internet.
            TooManyWebhooks: the account has as many as it can have.
        """
        self._check_url(data.url)
        begin, now, secret = await self.changes.now(), utc_now(), new_secret()
        hook: BSON = {
            "_id": ObjectId(),
            "user": user.object_id,
            **_stored(data.model_dump()),
            "disabled_reason": None if data.enabled else "owner",
            "secret": self.secrets.encrypt(secret),
            "begins_after": Place(time=begin).write(),
            "failing_since": None,
            "version": 1,
            "created_at": now,
            "updated_at": now,
        }
        if not await self.hooks.add(hook, partial(self.states.announce, begin)):
            raise TooManyWebhooks
        try:
            await confirm()
        except BaseException:  # the answer tells of no webhook
            await self.hooks.remove(user.object_id, hook["_id"])
            await self._forget(hook["_id"])
            raise
        self.dispatch()
        await audit_log.record("webhook_created", user.object_id, webhook=str(hook["_id"]))
        return WebhookMade.model_validate({**_shown(hook), "secret": secret})

    async def list_for_user(self, user: UserRead) -> list[WebhookRead]:
        """The webhooks of ``user``, oldest first."""
        return [read_webhook(hook) for hook in await self.hooks.list_for_user(user.object_id)]

    async def get(self, user: UserRead, hook_id: ObjectId | None) -> WebhookRead:
        """A webhook of ``user``. Raises NotFound."""
        return read_webhook(await self._find(user, hook_id))

    async def update(
        self, user: UserRead, hook_id: ObjectId | None, data: WebhookUpdate, versions: Collection[int] | None, audit_log: AuditLog
    ) -> WebhookRead:
        """Changes a webhook. Disabling it ends what is still to be sent.

        Raises:
            NotFound: the account has no such webhook.
            WebhookChanged: it is at none of the ``versions``.
            InvalidInput: the URL is not https, or not on the public internet.
        """
        values = _stored(data.model_dump(exclude_unset=True))
        if "url" in values:
            self._check_url(values["url"])
            values["failing_since"] = None
        if "enabled" in values:
            values |= {"disabled_reason": None if values["enabled"] else "owner", "failing_since": None}
        begin = await self.changes.now()
        place = Place(time=begin).write() if values.get("enabled") else None
        hook = await self.hooks.change(user.object_id, hook_id, values, versions, begin=place)
        if hook is None:
            raise WebhookChanged((await self.get(user, hook_id)).version)
        if hook["enabled"]:
            await self.states.announce(begin)
            self.dispatch()
        else:
            await self.states.touch()
            await self.deliveries.cancel(hook["_id"], "webhook_disabled")
        if "url" in values:
            await audit_log.record("webhook_changed", user.object_id, webhook=str(hook["_id"]))
        return read_webhook(hook)

    async def delete(
        self, user: UserRead, hook_id: ObjectId | None, versions: Collection[int] | None, audit_log: AuditLog
    ) -> None:
        """Deletes a webhook and its deliveries. Raises NotFound, WebhookChanged."""
        if hook_id is None or not await self.hooks.remove(user.object_id, hook_id, versions):
            raise WebhookChanged((await self.get(user, hook_id)).version)
        await self._forget(hook_id)
        await audit_log.record("webhook_deleted", user.object_id, webhook=str(hook_id))

    async def _forget(self, hook_id: ObjectId) -> None:
        await self.states.touch()
        await self.deliveries.delete_for_hook(hook_id)

    async def rotate_secret(self, user: UserRead, hook_id: ObjectId | None, audit_log: AuditLog) -> WebhookMade:
        """Gives a webhook a new secret. The previous one signs as well for 24 hours. Raises NotFound."""
        secret, hook = new_secret(), None
        while hook is None:  # of several at once, each keeps what the one before has made
            known = await self._find(user, hook_id)
            sealed, previous = self.secrets.encrypt(secret), self.secrets.retired(known)
            hook = await self.hooks.rotate(known, sealed, previous, utc_now() + OVERLAP)
        await audit_log.record("webhook_secret_rotated", user.object_id, webhook=str(hook_id))
        return WebhookMade.model_validate({**_shown(hook), "secret": secret})

    async def ping(self, user: UserRead, hook_id: ObjectId | None) -> DeliveryRead:
        """Sends an event that says nothing; one that is pending already is sent at once. Raises NotFound, WebhookDisabled."""
        hook = await self._find_enabled(user, hook_id)
        delivery = await self.deliveries.find_pending(hook["_id"], payloads.PING)
        if delivery is not None:
            delivery = await self._retry(user, hook["_id"], delivery["_id"])
        if delivery is None:
            body = payloads.ping(utc_now(), str(hook["_id"]))
            delivery = new_delivery(user.object_id, hook["_id"], payloads.PING, f"webhook ping {ObjectId()}", body)
            await self.deliveries.add([delivery])
        self.deliver()
        return read_delivery(delivery)

    async def list_deliveries(self, user: UserRead, hook_id: ObjectId | None, query: DeliveryQuery) -> Page[DeliveryRead]:
        """A page of the deliveries to a webhook, newest first.

        Raises:
            NotFound: the account has no such webhook.
            ExecutionTimeout: finding them took too long.
        """
        hook = await self._find(user, hook_id)
        matching = {"hook": hook["_id"], "user": user.object_id, **({"status": query.status} if query.status else {})}
        page = await self.deliveries.find_page(query, matching, self.milliseconds)
        return Page([read_delivery(each) for each in page.entries], page.total)

    async def redeliver(self, user: UserRead, hook_id: ObjectId | None, delivery_id: ObjectId | None) -> DeliveryRead:
        """Sends an event again, whatever became of it. Raises NotFound, WebhookDisabled."""
        hook = await self._find_enabled(user, hook_id)
        delivery = await self._retry(user, hook["_id"], delivery_id)
        if delivery is None:
            raise NotFound
        self.deliver()
        return read_delivery(delivery)

    async def _retry(self, user: UserRead, hook_id: ObjectId, delivery_id: ObjectId | None) -> BSON | None:
        return await self.deliveries.retry(user.object_id, hook_id, delivery_id, utc_now() + PATIENCE)

    def _check_url(self, url: str) -> None:
        """A courtesy: each attempt checks the address that it connects to."""
        parts = urlsplit(url)
        if self.allow_private:
            return
        if parts.scheme != "https":
            raise InvalidInput([FieldError("url", "must begin with https://", "url_scheme")])
        with suppress(ValueError):  # a name
            if not is_public(str(ip_address(parts.hostname or ""))):
                raise InvalidInput([FieldError("url", "must be on the public internet", "url_private")])

    async def _find(self, user: UserRead, hook_id: ObjectId | None) -> BSON:
        hook = await self.hooks.find(user.object_id, hook_id)
        if hook is None:
            raise NotFound
        return hook

    async def _find_enabled(self, user: UserRead, hook_id: ObjectId | None) -> BSON:
        hook = await self._find(user, hook_id)
        if not hook["enabled"]:
            raise WebhookDisabled
        return hook


def _stored(values: dict[str, Any]) -> BSON:
    """A webhook's own values as they are stored: MongoDB has no names of fields that begin with a dollar sign."""
    where = {"where": json.dumps(values["where"]) if values["where"] else None} if "where" in values else {}
    return {**values, **where}


def _shown(hook: BSON) -> BSON:
    until = hook.get("previous_secret_until")
    is_over = isinstance(until, datetime) and in_utc(until) <= utc_now()
    where = hook.get("where")
    with suppress(TypeError, ValueError):  # a script may have stored something else
        where = json.loads(where) if where else None
    return {**hook, "where": where, "previous_secret_until": None if is_over else until}


def read_webhook(hook: BSON) -> WebhookRead:
    """A stored webhook as its owner sees it."""
    return damaged.read(WebhookRead, _shown(hook), SOURCE)


def read_delivery(delivery: BSON) -> DeliveryRead:
    """A stored delivery as its owner sees it."""
    return damaged.read(DeliveryRead, _shown_delivery(delivery), DELIVERIES)


def export_delivery(delivery: BSON) -> ExportedDelivery:
    """A stored delivery as it is exported."""
    return damaged.read(ExportedDelivery, _shown_delivery(delivery), DELIVERIES)


def _shown_delivery(delivery: BSON) -> BSON:
    return delivery if delivery.get("status") == "pending" else {**delivery, "next_attempt_at": None}
