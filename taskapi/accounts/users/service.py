"""What can be done with accounts."""

from collections.abc import AsyncGenerator
from collections.abc import Collection as Keys
from dataclasses import dataclass

from bson import ObjectId

from taskapi.accounts.errors import WrongPassword
from taskapi.accounts.security import password_policy
from taskapi.accounts.security.access_tokens import PasswordHasher
from taskapi.accounts.security.scopes import Scopes
from taskapi.accounts.security.throttling import Throttle
from taskapi.accounts.users.email_repository import AccountWithPassword, EmailRepository
from taskapi.accounts.users.repository import AddedSession, UserRepository
from taskapi.accounts.users.schemas import Account, UserCreate, UserRead
from taskapi.audit.recorder import AuditLog
from taskapi.core.clock import utc_now
from taskapi.core.ids import new_id
from taskapi.db.connection import BSON, _current
from taskapi.mail.queue import Outbox


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
    if created_at := await repository().add(user):  # by an earlier run
        user |= {"created_at": created_at, "updated_at": created_at}
    else:
        await audit_log.record("account_created", user["_id"])
    if data.email:
        await mail.enqueue("verify_email", audit_log, user=user["_id"])
    return UserRead.model_validate(user)


def repository() -> UserRepository:
    """The accounts of the application that was started last, until all that use them are given the repository."""
    return UserRepository(_current[-1])


async def for_sign_in(username: str) -> tuple[Account | None, str | None]:
    """As ``UserRepository.find_for_sign_in``."""
    return await repository().find_for_sign_in(username)


async def active(ids: Keys[ObjectId]) -> dict[ObjectId, Account]:
    """As ``UserRepository.find_active``."""
    return await repository().find_active(ids)


async def add_session(
    user: UserRead, session: ObjectId, scopes: Scopes, password_hash: str, renewed: str | None
) -> AddedSession | None:
    """As ``UserRepository.add_session``."""
    return await repository().add_session(user, session, scopes, password_hash, renewed)


async def export_account(user: Account) -> AsyncGenerator[str, None]:
    """The account as its owner sees it, as JSON."""
    yield user.model_dump_json()


async def remove_sessions(user: ObjectId, sessions: list[ObjectId] | None) -> bool:
    """As ``UserRepository.remove_sessions``."""
    return await repository().remove_sessions(user, sessions)


async def reset_password(holder: AccountWithPassword, address: str, password: str, hasher: PasswordHasher) -> bool:
    """As ``EmailRepository.reset_password``, with the hash of ``password``."""
    return await EmailRepository(_current[-1]).reset_password(holder, address, await hasher.hash(password))
