"""The stored e-mail addresses of accounts, and the writes that proof of access to one allows."""

from dataclasses import dataclass

from bson import ObjectId
from pymongo.errors import DuplicateKeyError

from taskapi.accounts.errors import EmailTaken
from taskapi.accounts.users.documents import MAY_SIGN_IN, PUBLIC, SOURCE, UserDocument
from taskapi.accounts.users.schemas import UserRead
from taskapi.core.clock import utc_now
from taskapi.db import damaged
from taskapi.db.connection import BSON, Database


@dataclass(frozen=True, slots=True)
class AccountWithPassword:
    """An account that may sign in, with the password hash that its single-use tokens are bound to."""

    user: UserRead
    password_hash: str


class EmailRepository:
    """Finds accounts by e-mail address, verifies addresses, and resets passwords."""

    def __init__(self, database: Database) -> None:
        self._users = database.collection(UserDocument)

    async def find_account(self, user_id: ObjectId) -> AccountWithPassword | None:
        """The account with this id, unless it is disabled."""
        return await self._find({"_id": user_id})

    async def find_account_by_email(self, email: str) -> AccountWithPassword | None:
        """The account that has ``email``, in any case, unless it is disabled."""
        return await self._find({"email_key": email.lower()})

    async def is_taken(self, email: str) -> bool:
        """Whether an account has ``email``, in any case."""
        return await self._users.find_one({"email_key": email.lower()}, {"_id": 1}) is not None

    async def verify(self, account: AccountWithPassword, email: str) -> bool:
        """Marks the address of an account as verified. False when it is so already, or the account changed meanwhile."""
        matching = {**_unchanged(account), "email_key": email.lower(), "email_verified": {"$ne": True}}
        values = {"email_verified": True, "updated_at": utc_now()}
        return (await self._users.update_one(matching, {"$set": values})).modified_count == 1

    async def confirm_pending(self, account: AccountWithPassword, email: str) -> bool:
        """Replaces the address of an account by its pending one, ``email``. False when the account changed meanwhile.

        Raises:
            EmailTaken: another account has it by now.
        """
        values = {"email": email, "email_key": email.lower(), "email_verified": True, "updated_at": utc_now()}
        update = {"$set": values, "$unset": {"pending_email": ""}}
        matching = {**_unchanged(account), "pending_email": email}
        try:
            return (await self._users.update_one(matching, update)).modified_count == 1
        except DuplicateKeyError:
            raise EmailTaken from None

    async def reset_password(self, account: AccountWithPassword, email: str, password_hash: str) -> bool:
        """Sets a new password after a reset by mail to ``email``, and ends every session in the same write.

        The owner of an unverified address may not be the person who created the account, so API tokens and a second factor are
        removed as well.

        False when the password or the address changed since ``account`` was read, or the account was disabled.
        """
        values = {"password_hash": password_hash, "sessions": [], "email_verified": True, "updated_at": utc_now()}
        removed = {"pending_email": ""}  # an intruder may have set it
        matching = {**_unchanged(account), "email_key": email.lower()}
        if not account.user.email_verified:
            values["api_tokens"] = []
            removed |= {"two_factor": "", "authenticator": ""}
            matching["email_verified"] = {"$ne": True}  # or what the owner set up meanwhile would be removed
        return (await self._users.update_one(matching, {"$set": values, "$unset": removed})).modified_count == 1

    async def _find(self, matching: BSON) -> AccountWithPassword | None:
        user = await self._users.find_one({**matching, **MAY_SIGN_IN}, {**PUBLIC, "password_hash": 1})
        if user is None:
            return None
        return AccountWithPassword(damaged.read(UserRead, user, SOURCE), str(user.get("password_hash")))


def _unchanged(account: AccountWithPassword) -> BSON:
    return {"_id": account.user.object_id, "password_hash": account.password_hash, **MAY_SIGN_IN}
