"""The stored accounts: finds active ones, adds and changes one, and keeps the list of its sessions.

Other parts of an account have repositories of their own on the same collection: e-mail addresses, administration, renaming,
deletion, API tokens and second factors.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from collections.abc import Collection as Keys
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar

from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError, OperationFailure

from taskapi.accounts.errors import EmailTaken, UsernameTaken
from taskapi.accounts.security.scopes import Scopes
from taskapi.accounts.users.documents import ACCOUNT, ACTIVE, MAY_SIGN_IN, PUBLIC, SOURCE, STILL_THERE, UserDocument
from taskapi.accounts.users.schemas import Account, UserRead
from taskapi.db import damaged
from taskapi.db.codes import BAD_VALUE, PATH_NOT_VIABLE, TYPE_MISMATCH
from taskapi.db.connection import BSON, Database

log = logging.getLogger(__name__)

Result = TypeVar("Result")

INAPPLICABLE: Final = {BAD_VALUE, TYPE_MISMATCH, PATH_NOT_VIABLE}
_TYPE_OF_SESSIONS: Final[BSON] = {"$type": "$sessions"}
MENDED: Final[BSON] = {
    "sessions": {
        "$switch": {
            "branches": [
                {"case": {"$eq": [_TYPE_OF_SESSIONS, "array"]}, "then": "$sessions"},
                {"case": {"$eq": [_TYPE_OF_SESSIONS, "objectId"]}, "then": ["$sessions"]},  # as it is read
            ],
            "default": [],
        }
    },
    "renames": {
        "$switch": {
            "branches": [
                {"case": {"$eq": [{"$type": "$renames"}, "missing"]}, "then": "$$REMOVE"},
                {"case": {"$and": [{"$isNumber": "$renames"}, {"$lt": ["$renames", 2**53]}]}, "then": "$renames"},
            ],
            "default": 1,
        }
    },
    "renaming": {"$cond": [{"$eq": [{"$type": "$renaming"}, "object"]}, "$renaming", "$$REMOVE"]},
}


class AddedSession(NamedTuple):
    """Result of adding a session to an account."""

    sessions: list[ObjectId]  # of the account, with the new one
    cancelled_deletion: bool


@dataclass(slots=True)
class AccountUpdate:
    """One write to an active account: the conditions it must meet, and what is set, removed and incremented."""

    conditions: BSON = field(default_factory=dict)
    values: BSON = field(default_factory=dict)
    removed: BSON = field(default_factory=dict)
    counted: BSON = field(default_factory=dict)

    @property
    def operators(self) -> BSON:
        """The update as MongoDB operators."""
        operators = {"$set": self.values, "$unset": self.removed, "$inc": self.counted}
        return {name: fields for name, fields in operators.items() if fields}


class UserRepository:
    """Finds, adds and changes accounts."""

    def __init__(self, database: Database) -> None:
        self._users = database.collection(UserDocument)

    async def find_active(self, ids: Keys[ObjectId]) -> dict[ObjectId, Account]:
        """The accounts with these ids; without those that are disabled or being deleted."""
        if len(ids) == 1:
            (only,) = ids
            user = await self._users.find_one({"_id": only, **ACTIVE}, ACCOUNT)
            return {only: damaged.read(Account, user, SOURCE)} if user else {}
        cursor = self._users.find({"_id": {"$in": list(ids)}, **ACTIVE}, ACCOUNT, batch_size=len(ids) + 1)
        return {user["_id"]: damaged.read(Account, user, SOURCE) for user in await cursor.to_list(None)}

    async def is_active(self, user_id: ObjectId, session_id: ObjectId | None = None) -> bool:
        """Whether the account exists, is neither disabled nor being deleted, and has the session, if one is given."""
        user = (await self.find_active([user_id])).get(user_id)
        return user is not None and (session_id is None or session_id in user.sessions)

    async def find_for_sign_in(self, username: str) -> tuple[Account | None, str | None]:
        """The account with this user name in any case, and its password hash; (None, None) when there is none.

        The hash is None, which no password matches, when it is damaged.
        """
        named = {"username_key": username.lower(), **STILL_THERE}
        user = await self._users.find_one(named, {**ACCOUNT, "password_hash": 1})
        if user is None:
            return None, None
        stored = user.get("password_hash")
        return damaged.read(Account, user, SOURCE), stored if isinstance(stored, str) else None

    async def add(self, user: BSON) -> datetime | None:
        """Adds an account. When an earlier run of this request has added it, returns when; otherwise None.

        Raises:
            UsernameTaken, EmailTaken: decided by the unique indexes.
        """
        try:
            await self._users.insert_one(user)
        except DuplicateKeyError as error:
            first = await self._users.find_one({"_id": user["_id"]}, {"created_at": 1})
            if first is None:
                raise _name_conflict(error) from None
            created_at: datetime = first["created_at"]
            return created_at
        return None

    async def update(self, user_id: ObjectId, update: AccountUpdate) -> UserRead | None:
        """The account after ``update``; None when it is not active, or does not meet the conditions.

        Raises:
            UsernameTaken, EmailTaken: decided by the unique indexes.
        """
        matching = {"_id": user_id, **ACTIVE, **update.conditions}
        try:
            changed = await self._write_or_repair(
                user_id,
                lambda: self._users.find_one_and_update(matching, update.operators, PUBLIC, return_document=ReturnDocument.AFTER),
            )
        except DuplicateKeyError as error:
            raise _name_conflict(error) from None
        return damaged.read(UserRead, changed, SOURCE) if changed else None

    async def add_session(
        self, user: UserRead, session_id: ObjectId, scopes: Scopes, password_hash: str, renewed: str | None
    ) -> AddedSession | None:
        """Adds a session to ``user``, if ``password_hash`` is still current; ``renewed`` is a better hash of that password.

        Cancels a scheduled deletion. None when the account was disabled, its deletion started, its password changed, a second
        factor was turned on or the role that ``scopes`` need was lost meanwhile.
        """
        unchanged: BSON = {"_id": user.object_id, "password_hash": password_hash, **MAY_SIGN_IN}
        if not user.two_factor:
            unchanged["two_factor"] = {"$ne": True}
        if "admin" in scopes:
            unchanged["role"] = "admin"
        changes: BSON = {
            "$push": {"sessions": session_id},
            "$set": {"password_hash": renewed or password_hash},
            "$unset": {"leaving": ""},
        }
        before = await self._write_or_repair(
            user.object_id,
            lambda: self._users.find_one_and_update(unchanged, changes, {"sessions": 1, "leaving": 1}),
        )
        return AddedSession([*ids_in(before.get("sessions", ())), session_id], "leaving" in before) if before else None

    async def remove_sessions(self, user_id: ObjectId, session_ids: list[ObjectId] | None) -> bool:
        """Removes these sessions of an account, or all: their tokens stop working.

        False when none of them was listed.
        """
        change: BSON = {"$set": {"sessions": []}} if session_ids is None else {"$pullAll": {"sessions": session_ids}}
        written = await self._write_or_repair(user_id, lambda: self._users.update_one({"_id": user_id}, change))
        return written.modified_count == 1

    async def _write_or_repair(self, user_id: ObjectId, write: Callable[[], Awaitable[Result]]) -> Result:
        """The result of ``write``, an update of the account.

        If MongoDB cannot update a damaged field, such as text instead of a list, the field is repaired and the write repeated.
        """
        try:
            return await write()
        except OperationFailure as error:
            if error.code not in INAPPLICABLE:
                raise
        repaired = await self._users.update_one({"_id": user_id}, [{"$set": MENDED}])
        if repaired.modified_count:
            log.warning("a damaged account was repaired", extra={"fields": {"document": str(user_id)}})
        return await write()


def ids_in(sessions: Iterable[Any]) -> list[ObjectId]:
    """The ids in a stored list of sessions, which may be damaged."""
    return [session_id for session_id in sessions if isinstance(session_id, ObjectId)]


def _name_conflict(error: DuplicateKeyError) -> UsernameTaken | EmailTaken:
    """The error for the unique index that refused a write."""
    pattern = (error.details or {}).get("keyPattern", {})
    if "email_key" in pattern:
        return EmailTaken()
    return UsernameTaken()
