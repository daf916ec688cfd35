"""The stored accounts as admins see and change them. At least one active admin always remains."""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from bson import ObjectId
from pymongo import ASCENDING

from taskapi.accounts.errors import LastAdmin
from taskapi.accounts.users.admin_schemas import UserForAdmin, UserQuery
from taskapi.accounts.users.documents import ACCOUNT, ACTIVE, SOURCE, UserDocument
from taskapi.accounts.users.repository import ids_in
from taskapi.core.errors import NotFound
from taskapi.core.unicode import spellings
from taskapi.db import damaged
from taskapi.db.connection import BSON, Database, Session
from taskapi.db.transactions import transaction
from taskapi.web.pagination import Page

ADMIN: BSON = {"role": "admin", **ACTIVE}
WAS_ADMIN: BSON = {"$eq": ["$role", "admin"]}
_TOKEN: BSON = {"$mergeObjects": ["$$this", {"scopes": {"$setDifference": ["$$this.scopes", ["admin"]]}}]}
_HAS_SCOPES: BSON = {"$ne": ["$$this.scopes", []]}  # MongoDB refuses a token without any
_IS_SOUND: BSON = {"$and": [{"$eq": [{"$type": "$$this"}, "object"]}, {"$isArray": "$$this.scopes"}]}
WITHOUT_ADMIN: BSON = {
    "sessions": [],
    "api_tokens": {
        "$cond": [
            {"$isArray": "$api_tokens"},
            {
                "$filter": {
                    "input": {"$map": {"input": "$api_tokens", "in": {"$cond": [_IS_SOUND, _TOKEN, "$$this"]}}},
                    "cond": _HAS_SCOPES,
                }
            },
            "$api_tokens",  # absent, or damaged: it holds no token that works
        ]
    },
}
_CHECKS = "$last_admin_checks"
_IS_COUNT: BSON = {"$and": [{"$in": [{"$type": _CHECKS}, ["int", "long"]]}, {"$gte": [_CHECKS, 0]}, {"$lt": [_CHECKS, 2**53]}]}
NEXT_CHECK: BSON = {"$cond": [_IS_COUNT, {"$add": [_CHECKS, 1]}, 1]}  # whatever a script has stored
FOR_ADMIN = {**ACCOUNT, "leaving": 1}

LiveSessions = Callable[[Sequence[ObjectId]], Awaitable[set[ObjectId]]]


class ChangedAccount(NamedTuple):
    """An account before and after a change."""

    before: UserForAdmin
    after: UserForAdmin


class AdminRepository:
    """Lists, reads and changes all accounts."""

    def __init__(self, database: Database, live_sessions: LiveSessions) -> None:
        """``live_sessions`` finds those of some sessions that have not expired."""
        self._users = database.collection(UserDocument)
        self._live_sessions = live_sessions

    async def list_page(self, query: UserQuery, milliseconds: int) -> Page[UserForAdmin]:
        """The accounts that ``query`` asks for, in the order of their names; found within ``milliseconds``."""
        found = await query.find(self._users, user_filter(query), {"username_key": ASCENDING}, FOR_ADMIN, milliseconds)
        return Page(await self._show(found.entries), found.total)

    async def find(self, user_id: ObjectId | None) -> UserForAdmin:
        """One account. Raises NotFound."""
        user = await self._users.find_one({"_id": user_id}, FOR_ADMIN)
        if user is None:
            raise NotFound("User not found")
        (shown,) = await self._show([user])
        return shown

    async def find_id(self, username: str) -> ObjectId:
        """The id of the account with this user name in any case. Raises NotFound."""
        user = await self._users.find_one({"username_key": username.lower()}, {"_id": 1})
        if user is None:
            raise NotFound("User not found")
        user_id: ObjectId = user["_id"]
        return user_id

    async def change(self, user_id: ObjectId | None, values: BSON) -> ChangedAccount:
        """Sets ``disabled``, ``role`` or both, and revokes the rights that end with the old values.

        Revoked rights do not come back: disabling an account ends its sessions and API tokens, and an admin who becomes a user
        loses their sessions, the scope ``admin`` of their API tokens, and tokens that had no other scope.

        Raises:
            NotFound: there is no such account.
            LastAdmin: no active admin would be left.
        """
        revoked: BSON = {}  # expressions
        if values.get("disabled"):
            revoked = {"sessions": [], "api_tokens": []}
        elif values.get("role") == "user":
            revoked = {name: {"$cond": [WAS_ADMIN, without, f"${name}"]} for name, without in WITHOUT_ADMIN.items()}
        elif "role" in values:  # versions before 1.4 left the scope to former admins
            revoked = {"api_tokens": {"$cond": [WAS_ADMIN, "$api_tokens", WITHOUT_ADMIN["api_tokens"]]}}
        if values.get("disabled") is False:  # and the tokens to disabled accounts
            revoked["api_tokens"] = {"$cond": [{"$eq": ["$disabled", True]}, [], revoked.get("api_tokens", "$api_tokens")]}
        before = await self.set_unless_last({"_id": user_id}, values | revoked)
        if before is None:
            raise NotFound("User not found")
        after = {**before, **values}
        if "sessions" in revoked and (values.get("disabled") or before.get("role") == "admin"):
            after["sessions"] = []
        return ChangedAccount(*await self._show([before, after]))

    async def set_password(self, user_id: ObjectId, password_hash: str) -> None:
        """Sets a new password, and ends every session in the same write. Raises NotFound."""
        values: BSON = {"password_hash": password_hash, "sessions": []}
        update = {"$set": values, "$unset": {"pending_email": ""}}  # an intruder may have set it
        if (await self._users.update_one({"_id": user_id}, update)).matched_count == 0:
            raise NotFound("User not found")

    async def set_unless_last(self, conditions: BSON, values: BSON) -> BSON | None:
        """Sets ``values``, which may be expressions, in the one account that meets ``conditions``, if an active admin remains.

        Returns the account as it was before; None if no account meets the conditions.

        Raises:
            LastAdmin: no active admin would remain; nothing was changed.
        """

        async def write(session: Session | None) -> BSON | None:
            before = await self._users.find_one_and_update(conditions, [{"$set": values}], session=session)
            if before is None or not _is_active_admin(before) or await self._is_any_left(session):
                return before
            if session is None:  # a standalone server has no rollback
                await self._users.update_one({"_id": before["_id"]}, _undo(before, values))
            raise LastAdmin

        return await transaction(self._users, write)

    async def _show(self, users: list[BSON]) -> list[UserForAdmin]:
        """The stored accounts as admins see them, without sessions that have expired."""
        sound = [user for user in users if isinstance(user.get("sessions"), list)]
        live = await self._live_sessions([session for user in sound for session in ids_in(user["sessions"])])
        for user in sound:
            user["sessions"] = [session for session in ids_in(user["sessions"]) if session in live]
        return damaged.read_all(UserForAdmin, users, SOURCE)

    async def _is_any_left(self, session: Session | None) -> bool:
        # This writes to all admins, so that two transactions conflict that would each remove the admin the other relies on.
        left = await self._users.update_many(ADMIN, [{"$set": {"last_admin_checks": NEXT_CHECK}}], session=session)
        return left.matched_count > 0


def user_filter(query: UserQuery) -> BSON:
    """The MongoDB filter of ``query``."""
    conditions: BSON = {}
    if query.role is not None:
        conditions["role"] = "admin" if query.role == "admin" else {"$ne": "admin"}
    if query.disabled is not None:
        conditions["disabled"] = query.disabled
    if query.q is not None:
        parts = [{"$regex": re.escape(spelling), "$options": "i"} for spelling in spellings(query.q)]
        conditions["$or"] = [{name: part} for name in ("username_key", "email_key", "full_name") for part in parts]
    return conditions


def _is_active_admin(user: BSON) -> bool:
    return all(user.get(name) == value for name, value in ADMIN.items())


def _undo(before: BSON, values: BSON) -> dict[str, Any]:
    kept = {name: before[name] for name in values if name in before}
    added = dict.fromkeys(values.keys() - kept.keys(), "")
    return {"$set": kept} | ({"$unset": added} if added else {})
