"""What admins can do with accounts, and the rule that an active admin is always left."""

import re
from typing import Any

from bson import ObjectId
from pymongo import ASCENDING

from taskapi.accounts.errors import LastAdmin
from taskapi.accounts.security import password_policy
from taskapi.accounts.security.access_tokens import PasswordHasher
from taskapi.accounts.users.admin_schemas import AccountChange, NewPassword, UserForAdmin, UserQuery
from taskapi.accounts.users.documents import ACCOUNT, ACTIVE, SOURCE, UserDocument
from taskapi.audit.recorder import AuditLog
from taskapi.core.errors import NotFound
from taskapi.core.unicode import spellings
from taskapi.db import damaged
from taskapi.db.connection import BSON, Session, collection
from taskapi.db.transactions import transaction
from taskapi.mail.queue import Outbox
from taskapi.web.pagination import Page

ADMIN: BSON = {"role": "admin", **ACTIVE}
WAS_ADMIN: BSON = {"$eq": ["$role", "admin"]}
_TOKEN: BSON = {"$mergeObjects": ["$$this", {"scopes": {"$setDifference": ["$$this.scopes", ["admin"]]}}]}
_IS_SOUND: BSON = {"$and": [{"$eq": [{"$type": "$$this"}, "object"]}, {"$isArray": "$$this.scopes"}]}
WITHOUT_ADMIN: BSON = {
    "sessions": [],
    "api_tokens": {
        "$cond": [
            {"$isArray": "$api_tokens"},
            {"$map": {"input": "$api_tokens", "in": {"$cond": [_IS_SOUND, _TOKEN, "$$this"]}}},
            "$api_tokens",  # absent, or damaged: it holds no token that works
        ]
    },
}
SHOWN = {**ACCOUNT, "leaving": 1}


async def page(query: UserQuery, milliseconds: int) -> Page[UserForAdmin]:
    """The accounts that ``query`` asks for, in the order of their names; found within ``milliseconds``."""
    found = await query.find(collection(UserDocument), matching(query), {"username_key": ASCENDING}, SHOWN, milliseconds)
    return Page(damaged.read_all(UserForAdmin, found.entries, SOURCE), found.total)


def matching(query: UserQuery) -> BSON:
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


async def read(identity: ObjectId | None) -> UserForAdmin:
    """One account. Raises NotFound."""
    user = await collection(UserDocument).find_one({"_id": identity}, SHOWN)
    if user is None:
        raise NotFound("User not found")
    return damaged.read(UserForAdmin, user, SOURCE)


async def named(username: str) -> ObjectId:
    """The id of the account of that name in any case. Raises NotFound."""
    user = await collection(UserDocument).find_one({"username_key": username.lower()}, {"_id": 1})
    if user is None:
        raise NotFound("User not found")
    identity: ObjectId = user["_id"]
    return identity


async def change(
    identity: ObjectId | None, data: AccountChange, audit_log: AuditLog, *, by: ObjectId | None = None
) -> UserForAdmin:
    """Changes the fields that were sent.

    Rights that are taken away do not come back: disabling an account ends its sessions and API tokens, and an admin who becomes
    a user loses the sessions, and the scope ``admin`` of the API tokens.

    Raises:
        NotFound: there is no such account.
        LastAdmin: no active admin would be left.
    """
    values: BSON = data.model_dump(exclude_unset=True)
    if not values:
        return await read(identity)
    taken: BSON = {}  # expressions
    if values.get("disabled"):
        taken = {"sessions": [], "api_tokens": []}
    elif values.get("role") == "user":
        taken = {name: {"$cond": [WAS_ADMIN, without, f"${name}"]} for name, without in WITHOUT_ADMIN.items()}
    elif "role" in values:  # versions before 1.4 left the scope with those who were no longer admins
        taken = {"api_tokens": {"$cond": [WAS_ADMIN, "$api_tokens", WITHOUT_ADMIN["api_tokens"]]}}
    if values.get("disabled") is False:  # and the tokens with accounts that were disabled
        taken["api_tokens"] = {"$cond": [{"$eq": ["$disabled", True]}, [], taken.get("api_tokens", "$api_tokens")]}
    before = await set_unless_last({"_id": identity}, values | taken)
    if before is None:
        raise NotFound("User not found")
    if "sessions" in taken and (values.get("disabled") or before.get("role") == "admin"):
        values["sessions"] = []
    user: ObjectId = before["_id"]
    old, new = (damaged.read(UserForAdmin, user, SOURCE) for user in (before, {**before, **values}))
    if new.disabled != old.disabled:
        await audit_log.record("account_disabled" if new.disabled else "account_enabled", user, by=by)
    if new.role != old.role:
        await audit_log.record("role_changed", user, by=by, before=old.role, after=new.role)
    return new


async def reset_password(identity: ObjectId, data: NewPassword, hasher: PasswordHasher, mail: Outbox, audit_log: AuditLog) -> str:
    """Gives an account a new password, and ends its sessions in the same write; its owner is told. Returns its user name.

    Raises:
        NotFound: there is no such account.
        InvalidInput: the password is too easy to guess.
        Overloaded: too many passwords are being hashed.
    """
    user = await read(identity)
    password_policy.check(data.password, user.username, user.email, user.full_name)
    values: BSON = {"password_hash": await hasher.hash(data.password), "sessions": []}
    update = {"$set": values, "$unset": {"pending_email": ""}}  # an address that an intruder had given
    if (await collection(UserDocument).update_one({"_id": identity}, update)).matched_count == 0:
        raise NotFound("User not found")
    await audit_log.record("password_reset", identity)
    if user.email_verified:
        await mail.enqueue("notice_password", audit_log, user=identity, address=user.email)
    return user.username


async def set_unless_last(conditions: BSON, values: BSON) -> BSON | None:
    """Sets ``values``, which may be expressions, in the one account that meets ``conditions``, when an active admin is left then.

    The account as it was before; None when none meets them.

    Raises:
        LastAdmin: nothing was changed.
    """

    async def write(session: Session | None) -> BSON | None:
        users = collection(UserDocument)
        before = await users.find_one_and_update(conditions, [{"$set": values}], session=session)
        if before is None or not _is_active_admin(before) or await _is_any_left(session):
            return before
        if session is None:  # a standalone server takes nothing back by itself
            await users.update_one({"_id": before["_id"]}, _undoing(before, values))
        raise LastAdmin

    return await transaction(collection(UserDocument), write)


def _is_active_admin(user: BSON) -> bool:
    return all(user.get(name) == value for name, value in ADMIN.items())


async def _is_any_left(session: Session | None) -> bool:
    # Writing to all of them makes two transactions meet that each would take away the admin whom the other counts on.
    left = await collection(UserDocument).update_many(ADMIN, {"$inc": {"last_admin_checks": 1}}, session=session)
    return left.matched_count > 0


def _undoing(before: BSON, values: BSON) -> dict[str, Any]:
    kept = {name: before[name] for name in values if name in before}
    added = dict.fromkeys(values.keys() - kept.keys(), "")
    return {"$set": kept} | ({"$unset": added} if added else {})
