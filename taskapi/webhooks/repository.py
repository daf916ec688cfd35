"""The stored webhooks."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from datetime import datetime
from typing import Any, Final

from bson import ObjectId
from pymongo import ASCENDING, ReturnDocument

from taskapi.core.clock import utc_now
from taskapi.db.batches import delete_all
from taskapi.db.connection import BSON, Database, Session, acknowledged
from taskapi.db.expressions import integer_or_one, literals
from taskapi.db.integers import INT64_MAX
from taskapi.db.transactions import transaction
from taskapi.webhooks.documents import MAX_WEBHOOKS, DisabledReason, WebhookDocument

OLDEST: Final = {"_id": ASCENDING}
SHOWN_VERSION: Final = integer_or_one("$version")
NEXT_VERSION: Final = {"$add": [SHOWN_VERSION, 1]}
FOR_DISPATCH: Final = dict.fromkeys(("user", "events", "where", "begins_after"), 1)


class WebhookRepository:
    """The webhooks of all accounts."""

    def __init__(self, database: Database) -> None:
        self._hooks = database.collection(WebhookDocument)

    async def add(self, hook: BSON, announce: Callable[[Session | None], Awaitable[None]]) -> bool:
        """Stores a webhook, and announces it. False when the account has too many."""

        async def write(session: Session | None) -> bool:
            if await self._hooks.count_documents({"user": hook["user"]}, session=session) >= MAX_WEBHOOKS:
                return False
            await announce(session)  # All write to one document, so that two transactions conflict that count the same webhooks.
            await self._hooks.insert_one(hook, session=session)
            return True

        return await transaction(self._hooks, write)

    async def list_for_user(self, user: ObjectId) -> list[BSON]:
        """The webhooks of an account, oldest first."""
        return await self._hooks.find({"user": user}, sort=list(OLDEST.items())).to_list(None)

    async def find(self, user: ObjectId, hook_id: ObjectId | None) -> BSON | None:
        """A webhook of an account; None when it has no such webhook."""
        return await self._hooks.find_one({"_id": hook_id, "user": user})

    async def change(
        self,
        user: ObjectId,
        hook_id: ObjectId | None,
        values: BSON,
        versions: Collection[int] | None = None,
        *,
        begin: str | None = None,
    ) -> BSON | None:
        """Changes a webhook and returns it; None when the account has no such webhook, or at none of the ``versions``.

        ``begin`` is where it begins if it was disabled.
        """
        matching = {"_id": hook_id, "user": user, **_at(versions)}
        changed: BSON = {**literals({**values, "updated_at": utc_now()}), "version": NEXT_VERSION}
        if begin:
            changed["begins_after"] = {"$cond": ["$enabled", "$begins_after", {"$literal": begin}]}
        update = [{"$set": changed}]
        return await self._hooks.find_one_and_update(matching, update, return_document=ReturnDocument.AFTER)

    async def remove(self, user: ObjectId, hook_id: ObjectId | None, versions: Collection[int] | None = None) -> bool:
        """Deletes a webhook. False when the account has no such webhook, or at none of the ``versions``."""
        return (await self._hooks.delete_one({"_id": hook_id, "user": user, **_at(versions)})).deleted_count == 1

    async def find_enabled(self) -> list[BSON]:
        """What the dispatcher needs of all enabled webhooks, in a state that cannot be rolled back."""
        return await acknowledged(self._hooks).find({"enabled": True}, FOR_DISPATCH).to_list(None)

    async def is_any_enabled(self) -> bool:
        """Whether there is an enabled webhook."""
        return await self._hooks.find_one({"enabled": True}, {"_id": 1}) is not None

    async def find_many(self, hook_ids: Collection[ObjectId]) -> Mapping[ObjectId, BSON]:
        """The webhooks with these ids."""
        found = await self._hooks.find({"_id": {"$in": list(hook_ids)}}).to_list(None)
        return {hook["_id"]: hook for hook in found}

    async def rotate(self, hook: BSON, secret: bytes, previous: bytes | None, until: datetime) -> BSON | None:
        """Gives a webhook a new encrypted secret; the ``previous`` ones are kept ``until`` then.

        None when ``hook`` is gone, or has another secret by now.
        """
        values: BSON = {
            "secret": {"$literal": secret},
            "previous_secret": "$$REMOVE" if previous is None else {"$literal": previous},
            "previous_secret_until": until,
            "version": NEXT_VERSION,
            "updated_at": utc_now(),
        }
        same = {"_id": hook["_id"], "user": hook["user"]}
        if isinstance(hook.get("secret"), bytes):  # a script has damaged it otherwise
            same["secret"] = hook["secret"]
        return await self._hooks.find_one_and_update(same, [{"$set": values}], return_document=ReturnDocument.AFTER)

    async def stream_secrets(self) -> AsyncGenerator[BSON, None]:
        """The encrypted secrets of all webhooks, with their ids."""
        async for hook in self._hooks.find({}, {"secret": 1, "previous_secret": 1}):
            yield hook

    async def replace_secrets(self, hook: BSON, renewed: BSON) -> None:
        """Stores secrets that were encrypted anew, unless those that ``hook`` has were replaced meanwhile."""
        await self._hooks.update_one({"_id": hook["_id"], **{name: hook[name] for name in renewed}}, {"$set": renewed})

    async def note_failure(self, hook: BSON, now: datetime) -> datetime | None:
        """Notes that an attempt failed. Returns since when attempts fail without a success.

        None when the webhook is gone, or sends elsewhere by now.
        """
        since: Any = {"$ifNull": ["$failing_since", now]}
        found = await self._hooks.find_one_and_update(
            {"_id": hook["_id"], "url": hook.get("url")},
            [{"$set": {"failing_since": since}}],
            {"failing_since": 1},
            return_document=ReturnDocument.AFTER,
        )
        return found["failing_since"] if found else None

    async def note_success(self, hook_id: ObjectId) -> None:
        """Notes that an attempt succeeded."""
        await self._hooks.update_one({"_id": hook_id, "failing_since": {"$ne": None}}, {"$set": {"failing_since": None}})

    async def disable(self, hook: BSON, reason: DisabledReason) -> bool:
        """Disables a webhook. False when it is gone, was disabled already, or sends elsewhere by now."""
        values = {"enabled": False, "disabled_reason": reason, "updated_at": utc_now()}
        same = {"_id": hook["_id"], "url": hook.get("url"), "enabled": True}
        version = {"$min": [NEXT_VERSION, INT64_MAX]}  # the number after it would be no integer
        update = [{"$set": {**values, "version": version}}]
        return (await self._hooks.update_one(same, update)).modified_count == 1

    async def stream_for_user(self, user: ObjectId) -> AsyncGenerator[list[BSON], None]:
        """The webhooks of an account, oldest first, in one batch."""
        yield await self.list_for_user(user)

    async def delete_for_user(self, user: ObjectId) -> None:
        """Deletes the webhooks of an account."""
        await delete_all(self._hooks, {"user": user})


def _at(versions: Collection[int] | None) -> BSON:
    return {} if versions is None else {"$expr": {"$in": [SHOWN_VERSION, list(versions)]}}
