"""What can be done with accounts."""

from collections.abc import AsyncGenerator
from collections.abc import Collection as Keys
from typing import Any, NamedTuple

from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from taskapi.account_errors import EmailTaken, InvalidToken, UsernameTaken, WrongPassword
from taskapi.clock import utc_now
from taskapi.database import BSON, Session, collection, transaction
from taskapi.events.service import Trail
from taskapi.identity import new_id
from taskapi.security import PasswordHasher
from taskapi.tasks import service as tasks
from taskapi.users.documents import UserDocument
from taskapi.users.schemas import Account, UserCreate, UserRead, UserUpdate

SHOWN = ("username", "email", "full_name", "disabled", "role", "two_factor", "created_at", "updated_at")
PUBLIC = dict.fromkeys(SHOWN, 1)  # no dotted name among them: it would cost MongoDB 30 us a request
PROVING = {**PUBLIC, "sessions": 1}
STILL_THERE = {"leaving.leased_until": None}  # the removal of the account has not begun
ACTIVE = {"disabled": False, "leaving": None}


class Admission(NamedTuple):
    """What came of listing a session."""

    sessions: list[ObjectId]  # of the account then
    cancelled_leaving: bool


async def register(data: UserCreate, hasher: PasswordHasher, trail: Trail) -> UserRead:
    """Makes an account. When an earlier run of the same request has made it, the answer is what that run would have given.

    Raises:
        UsernameTaken, EmailTaken: decided by the unique indexes, so also when two callers race.
        Overloaded: too many passwords are being hashed.
    """
    now = utc_now()
    user: BSON = {
        "_id": new_id(),
        "username": data.username,
        "username_key": data.username.lower(),
        "email": data.email,
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
        await trail.record("account_created", user["_id"])
    return UserRead.model_validate(user)


async def for_sign_in(username: str) -> tuple[Account | None, str | None]:
    """The account of that name in any case, and its password hash; (None, None) when there is none."""
    named = {"username_key": username.lower(), **STILL_THERE}
    user = await collection(UserDocument).find_one(named, {**PROVING, "password_hash": 1})
    return (Account.model_validate(user), user["password_hash"]) if user else (None, None)


async def active(ids: Keys[ObjectId]) -> dict[ObjectId, Account]:
    """Those of the accounts that exist, and are neither disabled nor leaving."""
    if len(ids) == 1:
        (only,) = ids
        user = await collection(UserDocument).find_one({"_id": only, **ACTIVE}, PROVING)
        return {only: Account.model_validate(user)} if user else {}
    cursor = collection(UserDocument).find({"_id": {"$in": list(ids)}, **ACTIVE}, PROVING, batch_size=len(ids) + 1)
    return {user["_id"]: Account.model_validate(user) for user in await cursor.to_list(None)}


async def _now(identity: ObjectId) -> Account | None:
    return (await active([identity])).get(identity)


async def admit(user: UserRead, session: ObjectId, proof: str, renewed: str | None) -> Admission | None:
    """Lists a session of ``user``, whose password hash is still ``proof``; ``renewed`` is a better hash of that password.

    An account that was leaving stays. None when it was disabled, its removal began or its password changed meanwhile.
    """
    before = await collection(UserDocument).find_one_and_update(
        {"_id": user.object_id, "password_hash": proof, "disabled": False, **STILL_THERE},
        {"$push": {"sessions": session}, "$set": {"password_hash": renewed or proof}, "$unset": {"leaving": ""}},
        {"sessions": 1, "leaving": 1},
    )
    return Admission([*before.get("sessions", ()), session], "leaving" in before) if before else None


async def prove(user: UserRead, password: str, hasher: PasswordHasher) -> str:
    """The hash of the current password of ``user``, which ``password`` is.

    Raises:
        WrongPassword: it is another.
        Overloaded: too many passwords are being hashed.
    """
    _, stored = await for_sign_in(user.username)
    matches, _ = await hasher.verify(password, stored)
    if stored is None or not matches:
        raise WrongPassword
    return stored


async def exported(user: Account) -> AsyncGenerator[str, None]:
    """The account as its owner sees it, as JSON."""
    yield user.model_dump_json()


async def dismiss(user: ObjectId, sessions: list[ObjectId] | None) -> bool:
    """Takes those sessions of ``user``, or all, off the list: their tokens are worth nothing from now on.

    False when there was none of them.
    """
    change: BSON = {"$set": {"sessions": []}} if sessions is None else {"$pullAll": {"sessions": sessions}}
    return (await collection(UserDocument).update_one({"_id": user}, change)).modified_count == 1


async def change(user: UserRead, data: UserUpdate, session: ObjectId | None, hasher: PasswordHasher, trail: Trail) -> UserRead:
    """Changes the fields that were sent; a new user name also changes its copies inside the user's tasks.

    A new password ends every session but ``session``, which asks for it.

    Raises:
        UsernameTaken, EmailTaken: somebody else has it.
        WrongPassword: ``current_password`` is not the current password.
        InvalidToken: the account was disabled or deleted meanwhile.
    """
    if not data.model_fields_set:
        return user
    conditions: BSON = {"_id": user.object_id, **ACTIVE}
    values: BSON = {"updated_at": utc_now(), **data.model_dump(include={"email", "full_name"}, exclude_unset=True)}
    removed: BSON = {}
    if "email" in data.model_fields_set:
        if data.email:
            values["email_key"] = data.email.lower()
        else:
            removed["email_key"] = ""
    if "password" in data.model_fields_set:
        # A change of the password in between makes this one void.
        conditions["password_hash"] = await prove(user, data.current_password, hasher)
        values["password_hash"] = await hasher.hash(data.password)
        values["sessions"] = [session] if session else []
    renamed = "username" in data.model_fields_set
    if renamed:
        values |= {"username": data.username, "username_key": data.username.lower()}
    update: BSON = {"$set": values} | ({"$unset": removed} if removed else {})

    async def write(session: Session | None = None) -> Any:
        changed = await collection(UserDocument).find_one_and_update(
            conditions, update, PUBLIC, return_document=ReturnDocument.AFTER, session=session
        )
        if changed and renamed:
            await tasks.rename_owner(user.object_id, data.username, session)
        return changed

    try:
        changed = await (transaction(UserDocument, write) if renamed else write())
    except DuplicateKeyError as error:
        raise _taken(error) from None
    if changed is None:
        raise WrongPassword if "password_hash" in conditions else InvalidToken
    if "password_hash" in values:
        await trail.record("password_changed", user.object_id)
    if renamed:  # once more, for tasks that were being created under the old name while the transaction ran
        await tasks.settle_owner(user.object_id, data.username, _now)
        await trail.record("username_changed", user.object_id, before=user.username, after=data.username)
    return UserRead.model_validate(changed)


def _taken(error: DuplicateKeyError) -> UsernameTaken | EmailTaken:
    pattern = (error.details or {}).get("keyPattern", {})
    return EmailTaken() if "email_key" in pattern else UsernameTaken()
