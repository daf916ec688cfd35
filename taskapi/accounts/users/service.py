"""What can be done with accounts."""

from collections.abc import AsyncGenerator, Iterable
from collections.abc import Collection as Keys
from dataclasses import dataclass
from typing import Any, NamedTuple

from bson import ObjectId
from pymongo.errors import DuplicateKeyError

from taskapi.accounts.errors import EmailTaken, UsernameTaken, WrongPassword
from taskapi.accounts.security import password_policy
from taskapi.accounts.security.access_tokens import PasswordHasher
from taskapi.accounts.security.scopes import Scopes
from taskapi.accounts.security.throttling import Throttle
from taskapi.accounts.users.addresses import AccountWithPassword
from taskapi.accounts.users.documents import ACTIVE, MAY_SIGN_IN, PUBLIC, SOURCE, STILL_THERE, UserDocument
from taskapi.accounts.users.mending import mending
from taskapi.accounts.users.schemas import Account, UserCreate, UserRead
from taskapi.audit.recorder import AuditLog
from taskapi.core.clock import utc_now
from taskapi.core.ids import new_id
from taskapi.db import damaged
from taskapi.db.connection import BSON, collection
from taskapi.mail.queue import Outbox

PROVING = {**PUBLIC, "sessions": 1, "renames": 1}


class Admission(NamedTuple):
    """Result of adding a session to an account."""

    sessions: list[ObjectId]  # of the account then
    cancelled_leaving: bool


@dataclass(frozen=True, slots=True)
class Reauthenticator:
    """Asks a signed-in user for their current password."""

    hasher: PasswordHasher
    throttle: Throttle
    session: ObjectId | None
    audit_log: AuditLog

    async def confirm_password(self, user: UserRead, password: str) -> str:
        """Returns the stored hash of the user's password; a write that requires it fails when the password has changed.

        Raises:
            WrongPassword: ``password`` is wrong.
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
    """Creates an account, and queues a mail that verifies its e-mail address.

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
            raise name_conflict(error) from None
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


async def add_session(
    user: UserRead, session: ObjectId, scopes: Scopes, password_hash: str, renewed: str | None
) -> Admission | None:
    """Lists a session of ``user``, who still has ``password_hash``; ``renewed`` is a better hash of that password.

    An account that was leaving stays. None when it was disabled, its removal began, its password changed, a second factor was
    turned on or the role that ``scopes`` need was lost meanwhile.
    """
    unchanged: BSON = {"_id": user.object_id, "password_hash": password_hash, **MAY_SIGN_IN}
    if not user.two_factor:
        unchanged["two_factor"] = {"$ne": True}
    if "admin" in scopes:
        unchanged["role"] = "admin"
    changes: BSON = {
        "$push": {"sessions": session},
        "$set": {"password_hash": renewed or password_hash},
        "$unset": {"leaving": ""},
    }
    before = await mending(
        user.object_id,
        lambda: collection(UserDocument).find_one_and_update(unchanged, changes, {"sessions": 1, "leaving": 1}),
    )
    return Admission([*ids_in(before.get("sessions", ())), session], "leaving" in before) if before else None


async def export_account(user: Account) -> AsyncGenerator[str, None]:
    """The account as its owner sees it, as JSON."""
    yield user.model_dump_json()


async def remove_sessions(user: ObjectId, sessions: list[ObjectId] | None) -> bool:
    """Removes those sessions of ``user``, or all: their tokens stop working.

    False when none of them was listed.
    """
    change: BSON = {"$set": {"sessions": []}} if sessions is None else {"$pullAll": {"sessions": sessions}}
    return (await mending(user, lambda: collection(UserDocument).update_one({"_id": user}, change))).modified_count == 1


def ids_in(sessions: Iterable[Any]) -> list[ObjectId]:
    """The ids in a stored list of sessions, which may hold anything."""
    return [session for session in sessions if isinstance(session, ObjectId)]


async def reset_password(holder: AccountWithPassword, address: str, password: str, hasher: PasswordHasher) -> bool:
    """Sets a new password after a reset by mail to ``address``, and ends every session in the same write.

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


def name_conflict(error: DuplicateKeyError) -> UsernameTaken | EmailTaken:
    """Which of the two names of an account is taken, by the index that refused a write."""
    pattern = (error.details or {}).get("keyPattern", {})
    if "email_key" in pattern:
        return EmailTaken()
    return UsernameTaken()
