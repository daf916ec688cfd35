"""What can be done with accounts."""

from collections.abc import AsyncGenerator, Iterable
from collections.abc import Collection as Keys
from dataclasses import dataclass
from typing import Any, NamedTuple

from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from taskapi.accounts.errors import EmailTaken, UsernameTaken, WrongPassword
from taskapi.accounts.security import password_policy
from taskapi.accounts.security.access_tokens import PasswordHasher
from taskapi.accounts.security.scopes import Scopes
from taskapi.accounts.security.throttling import Throttle
from taskapi.accounts.users import addresses, renaming
from taskapi.accounts.users.addresses import AccountWithPassword
from taskapi.accounts.users.documents import ACTIVE, MAY_SIGN_IN, PUBLIC, SOURCE, STILL_THERE, UserDocument
from taskapi.accounts.users.mending import mending
from taskapi.accounts.users.schemas import Account, UserCreate, UserRead, UserUpdate
from taskapi.audit.recorder import AuditLog
from taskapi.core.clock import utc_now
from taskapi.core.errors import InvalidToken
from taskapi.core.ids import new_id
from taskapi.db import damaged
from taskapi.db.connection import BSON, collection
from taskapi.mail.queue import Outbox

PROVING = {**PUBLIC, "sessions": 1, "renames": 1}


class Admission(NamedTuple):
    """What came of listing a session."""

    sessions: list[ObjectId]  # of the account then
    cancelled_leaving: bool


@dataclass(frozen=True, slots=True)
class Reauthenticator:
    """Asks somebody who has signed in for their current password."""

    hasher: PasswordHasher
    throttle: Throttle
    session: ObjectId | None
    audit_log: AuditLog

    async def prove(self, user: UserRead, password: str) -> str:
        """The stored hash of the password of ``user``, which is ``password``: a write that requires it requires this one.

        Raises:
            WrongPassword: it is another.
            TooManyAttempts: there were too many wrong ones in this session.
            Overloaded: too many passwords are being hashed.
        """
        async with self.throttle.current_password(user.object_id, self.session):
            _, stored = await for_sign_in(user.username)
            matches, _ = await self.hasher.verify(password, stored)
            if stored is None or not matches:
                await self.audit_log.record("current_password", user.object_id, outcome="failure")
                raise WrongPassword
        return stored


async def register(data: UserCreate, hasher: PasswordHasher, mail: Outbox, audit_log: AuditLog) -> UserRead:
    """Makes an account, and has a mail sent to its address.

    When an earlier run of the same request has made it, the answer is what that run would have given.

    Raises:
        InvalidInput: the password is too easy to guess, or the address is a local one where those are not taken.
        UsernameTaken, EmailTaken: decided by the unique indexes, so also when two callers race.
        Overloaded: too many passwords are being hashed.
    """
    mail.check(data.email)
    password_policy.check(data.password, data.username, data.email, data.full_name)
    now = utc_now()
    user: BSON = {
        "_id": new_id(),
        "username": data.username,
        "username_key": data.username.lower(),
        "email": data.email,
        "email_verified": False,
        "full_name": data.full_name,
        "password_hash": await hasher.hash(data.password),
        "disabled": False,
        "role": "user",
        "sessions": [],
        "created_at": now,
        "updated_at": now,
    }
    if data.email:
        user["email_key"] = data.email.lower()
    try:
        await collection(UserDocument).insert_one(user)
    except DuplicateKeyError as error:
        first = await collection(UserDocument).find_one({"_id": user["_id"]}, {"created_at": 1})
        if first is None:
            raise _taken(error) from None
        user |= {"created_at": first["created_at"], "updated_at": first["created_at"]}
    else:
        await audit_log.record("account_created", user["_id"])
    if data.email:
        await mail.enqueue("verify_email", audit_log, user=user["_id"])
    return UserRead.model_validate(user)


async def for_sign_in(username: str) -> tuple[Account | None, str | None]:
    """The account of that name in any case, and its password hash; (None, None) when there is none."""
    named = {"username_key": username.lower(), **STILL_THERE}
    user = await collection(UserDocument).find_one(named, {**PROVING, "password_hash": 1})
    return (damaged.read(Account, user, SOURCE), hash_in(user)) if user else (None, None)


def hash_in(user: BSON) -> str | None:
    """The password hash in a stored account; None, which no password matches, when it is damaged."""
    stored = user.get("password_hash")
    return stored if isinstance(stored, str) else None


async def active(ids: Keys[ObjectId]) -> dict[ObjectId, Account]:
    """Those of the accounts that exist, and are neither disabled nor leaving."""
    if len(ids) == 1:
        (only,) = ids
        user = await collection(UserDocument).find_one({"_id": only, **ACTIVE}, PROVING)
        return {only: damaged.read(Account, user, SOURCE)} if user else {}
    cursor = collection(UserDocument).find({"_id": {"$in": list(ids)}, **ACTIVE}, PROVING, batch_size=len(ids) + 1)
    return {user["_id"]: damaged.read(Account, user, SOURCE) for user in await cursor.to_list(None)}


async def _now(identity: ObjectId) -> Account | None:
    return (await active([identity])).get(identity)


async def admit(user: UserRead, session: ObjectId, scopes: Scopes, proof: str, renewed: str | None) -> Admission | None:
    """Lists a session of ``user``, whose password hash is still ``proof``; ``renewed`` is a better hash of that password.

    An account that was leaving stays. None when it was disabled, its removal began, its password changed, a second factor was
    turned on or the role that ``scopes`` need was lost meanwhile.
    """
    unchanged: BSON = {"_id": user.object_id, "password_hash": proof, **MAY_SIGN_IN}
    if not user.two_factor:
        unchanged["two_factor"] = {"$ne": True}
    if "admin" in scopes:
        unchanged["role"] = "admin"
    changes: BSON = {"$push": {"sessions": session}, "$set": {"password_hash": renewed or proof}, "$unset": {"leaving": ""}}
    before = await mending(
        user.object_id,
        lambda: collection(UserDocument).find_one_and_update(unchanged, changes, {"sessions": 1, "leaving": 1}),
    )
    return Admission([*ids_in(before.get("sessions", ())), session], "leaving" in before) if before else None


async def exported(user: Account) -> AsyncGenerator[str, None]:
    """The account as its owner sees it, as JSON."""
    yield user.model_dump_json()


async def dismiss(user: ObjectId, sessions: list[ObjectId] | None) -> bool:
    """Takes those sessions of ``user``, or all, off the list: their tokens are worth nothing from now on.

    False when there was none of them.
    """
    change: BSON = {"$set": {"sessions": []}} if sessions is None else {"$pullAll": {"sessions": sessions}}
    return (await mending(user, lambda: collection(UserDocument).update_one({"_id": user}, change))).modified_count == 1


def ids_in(sessions: Iterable[Any]) -> list[ObjectId]:
    """The ids in a stored list of sessions, which may hold anything."""
    return [session for session in sessions if isinstance(session, ObjectId)]


async def reset_password(holder: AccountWithPassword, address: str, password: str, hasher: PasswordHasher) -> bool:
    """Gives a new password to whoever reads ``address``, and ends every session in the same write.

    When nobody had shown before that they read it, API tokens and a second factor end as well: whoever made the account may be
    somebody else.

    False when the password or the address changed since ``holder`` was read, or the account was disabled.
    """
    values = {"password_hash": await hasher.hash(password), "sessions": [], "email_verified": True, "updated_at": utc_now()}
    removed = {"pending_email": ""}  # an address that an intruder had given
    matching: BSON = {"_id": holder.user.object_id, "password_hash": holder.password_hash, "email_key": address.lower()}
    if not holder.user.email_verified:
        values["api_tokens"] = []
        removed |= {"two_factor": "", "authenticator": ""}
        matching["email_verified"] = {"$ne": True}  # or what its reader set up meanwhile would go
    written = await collection(UserDocument).update_one({**matching, **MAY_SIGN_IN}, {"$set": values, "$unset": removed})
    return written.modified_count == 1


async def change(user: UserRead, data: UserUpdate, prover: Reauthenticator, mail: Outbox, audit_log: AuditLog) -> UserRead:
    """Changes the fields that were sent; the copies of a new user name inside the user's tasks follow later.

    A new password ends every session but the one that asks for it, and calls a pending change of the address off.

    Raises:
        InvalidInput: the new password is too easy to guess, the current one is needed to change the address, or the new
            address is a local one where those are not taken.
        UsernameTaken, EmailTaken: somebody else has it.
        WrongPassword, TooManyAttempts, Overloaded: as ``Reauthenticator`` says of ``current_password``.
        TooManyAttempts: also when the account had too many addresses verified, or it or the address it calls from has asked for
            too many names or addresses.
        InvalidToken: the account was disabled or deleted meanwhile.
    """
    if not data.model_fields_set:
        return user
    mail.check(data.email)
    if _asks_for_names(user, data):
        await prover.throttle.change_of_name(user.object_id, audit_log.address)
    conditions: BSON = {"_id": user.object_id, **ACTIVE}
    values: BSON = {"updated_at": utc_now(), **data.model_dump(include={"full_name"}, exclude_unset=True)}
    removed: BSON = {}
    if "password" in data.model_fields_set:
        password_policy.check(data.password, user.username, user.email, user.full_name, data.username, data.email, data.full_name)
    if "current_password" in data.model_fields_set:
        proof = await prover.prove(user, data.current_password)
        conditions["password_hash"] = proof  # a change of the password in between makes this one void
    if "password" in data.model_fields_set:
        values["password_hash"] = await prover.hasher.hash(data.password)
        values["sessions"] = [prover.session] if prover.session else []
        removed["pending_email"] = ""
    moved = None
    if "email" in data.model_fields_set:
        moved = await addresses.change(
            user, data.email, proven="password_hash" in conditions, signed_in=prover.session is not None
        )
        if moved.to_verify:
            await prover.throttle.verification(user.object_id)
        conditions |= moved.holds
        values |= moved.values
        removed = moved.removed
    renames = "username" in data.model_fields_set and data.username != user.username
    update: BSON = {"$unset": removed} if removed else {}
    if renames:
        values |= {"username": data.username, "username_key": data.username.lower()}
        follows = renaming.renamed(utc_now())
        values |= follows.pop("$set")
        update |= follows
    update["$set"] = values
    try:
        changed = await mending(
            user.object_id,
            lambda: collection(UserDocument).find_one_and_update(
                conditions, update, PUBLIC, return_document=ReturnDocument.AFTER
            ),
        )
    except DuplicateKeyError as error:
        raise _taken(error) from None
    if changed is None:
        if "password_hash" in conditions:
            raise WrongPassword
        raise addresses.password_needed() if moved and await _now(user.object_id) else InvalidToken
    if "password_hash" in values:
        await audit_log.record("password_changed", user.object_id)
        if user.email_verified:
            await mail.enqueue("notice_password", audit_log, user=user.object_id, address=user.email)
    if moved:
        await moved.follow(user.object_id, mail, audit_log)
    if renames:
        await audit_log.record("username_changed", user.object_id, before=user.username, after=data.username)
    return damaged.read(UserRead, changed, SOURCE)


def _asks_for_names(user: UserRead, data: UserUpdate) -> bool:
    """Whether the answer says if a user name or an address, other than their own, is taken."""
    wanted = ((data.username, user.username), (data.email, user.email)) if data.model_fields_set else ()
    return any(new and new.lower() != (own or "").lower() for new, own in wanted)


def _taken(error: DuplicateKeyError) -> UsernameTaken | EmailTaken:
    pattern = (error.details or {}).get("keyPattern", {})
    return EmailTaken() if "email_key" in pattern else UsernameTaken()
