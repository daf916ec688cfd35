"""Creates accounts, and confirms the passwords of signed-in users."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from bson import ObjectId

from taskapi.accounts.errors import WrongPassword
from taskapi.accounts.security import password_policy
from taskapi.accounts.security.access_tokens import PasswordHasher
from taskapi.accounts.security.throttling import Throttle
from taskapi.accounts.users.repository import UserRepository
from taskapi.accounts.users.schemas import Account, UserCreate, UserRead
from taskapi.audit.recorder import AuditLog
from taskapi.core.clock import utc_now
from taskapi.core.errors import InvalidToken
from taskapi.core.ids import new_id
from taskapi.db.connection import BSON
from taskapi.mail.queue import Outbox


@dataclass(frozen=True, slots=True)
class Reauthenticator:
    """Confirms the current password of a signed-in user."""

    users: UserRepository
    hasher: PasswordHasher
    throttle: Throttle
    session_id: ObjectId | None
    audit_log: AuditLog

    async def confirm_password(self, user: UserRead, password: str) -> str:
        """Returns the stored hash of the user's password; a write that requires it fails when the password has changed.

        Raises:
            WrongPassword: ``password`` is wrong.
            TooManyAttempts: there were too many wrong ones in this session.
            Overloaded: too many passwords are being hashed.
        """
        async with self.throttle.current_password(user.object_id, self.session_id) as attempt:
            _, stored = await self.users.find_for_sign_in(user.username)
            matches, _ = await self.hasher.verify(password, stored)
            if stored is None or not matches:
                attempt.is_wrong = True
                await self.audit_log.record("current_password", user.object_id, outcome="failure")
                raise WrongPassword
        return stored

    async def confirm(self, user: UserRead, password: str) -> BSON:
        """The conditions of a write that needs the password and a session; it fails when either has changed or ended meanwhile.

        The session may have ended because it gave no second factor. Raises as ``confirm_password``.
        """
        return {"password_hash": await self.confirm_password(user, password), "sessions": self.session_id}

    async def require_session(self, user: UserRead) -> None:
        """Raises InvalidToken if the session has ended, or the account was disabled or deleted."""
        if not await self.users.is_active(user.object_id, self.session_id):
            raise InvalidToken


@dataclass(frozen=True, slots=True)
class UserService:
    """Creates accounts."""

    users: UserRepository
    hasher: PasswordHasher
    throttle: Throttle
    mail: Outbox

    async def register(self, data: UserCreate, audit_log: AuditLog) -> UserRead:
        """Creates an account, and queues a mail that verifies its e-mail address.

        When an earlier run of this request has created it, the result is that of the earlier run.

        Raises:
            InvalidInput: the password is too easy to guess, or the server does not accept the local e-mail address.
            UsernameTaken, EmailTaken: decided by the unique indexes, so also when two callers race.
            Overloaded: too many passwords are being hashed.
        """
        self.mail.check(data.email)
        password_policy.check(data.password, data.username, data.email, data.full_name)
        now = utc_now()
        user: BSON = {
            "_id": new_id(),
            "username": data.username,
            "username_key": data.username.lower(),
            "email": data.email,
            "email_verified": False,
            "full_name": data.full_name,
            "password_hash": await self.hasher.hash(data.password),
            "disabled": False,
            "role": "user",
            "sessions": [],
            "created_at": now,
            "updated_at": now,
        }
        if data.email:
            user["email_key"] = data.email.lower()
        created_at = await self.users.add(user)
        await self.throttle.forget_addresses(data.username)
        if created_at:  # by an earlier run
            user |= {"created_at": created_at, "updated_at": created_at}
        else:
            await audit_log.record("account_created", user["_id"])
        if data.email:
            await self.mail.enqueue("verify_email", audit_log, user=user["_id"])
        return UserRead.model_validate(user)


async def export_account(user: Account) -> AsyncGenerator[str, None]:
    """The account as its owner sees it, as JSON."""
    yield user.model_dump_json()
