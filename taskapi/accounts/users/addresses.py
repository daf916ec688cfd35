"""The e-mail addresses of accounts: who has one, how it changes, how it is verified.

An address that is not verified changes at once; by an API token only with the password, for whoever reads an address can
reset it. A verified one stays until whoever reads the new one has confirmed it (``pending_email``), and to give it up takes
the password.
"""

from dataclasses import dataclass

from bson import ObjectId

from taskapi.accounts.errors import EmailTaken
from taskapi.accounts.users.email_repository import AccountWithPassword, EmailRepository
from taskapi.accounts.users.schemas import UserRead
from taskapi.audit.recorder import AuditLog
from taskapi.core.errors import FieldError, InvalidInput
from taskapi.db.connection import BSON, _current
from taskapi.mail.queue import Outbox


@dataclass(frozen=True, slots=True)
class Change:
    """What an address that was sent does to an account: the state that it asks for, the writes, and what follows them."""

    holds: BSON
    values: BSON
    removed: BSON
    is_event: bool = False
    to_verify: bool = False
    gives_up: str | None = None  # a verified address, whose reader is told

    async def follow(self, user: ObjectId, mail: Outbox, audit_log: AuditLog) -> None:
        """Does what follows the write."""
        if self.is_event:
            await audit_log.record("email_changed", user)
        if self.to_verify:
            await mail.enqueue("verify_email", audit_log, user=user)
        if self.gives_up:
            await mail.enqueue("notice_email", audit_log, user=user, address=self.gives_up)


def repository() -> EmailRepository:
    """The addresses of the application that was started last, until all that use them are given the repository."""
    return EmailRepository(_current[-1])


async def holder(user: ObjectId) -> AccountWithPassword | None:
    """As ``EmailRepository.find_account``."""
    return await repository().find_account(user)


async def holder_of(address: str) -> AccountWithPassword | None:
    """As ``EmailRepository.find_account_by_email``."""
    return await repository().find_account_by_email(address)


def unverified(user: UserRead) -> str | None:
    """The address of ``user`` that waits to be verified, if there is one."""
    return user.pending_email or (None if user.email_verified else user.email)


async def change(user: UserRead, email: str | None, *, proven: bool, signed_in: bool) -> Change:
    """How the account changes to ``email``, or to none; ``proven`` says whether the password was given.

    ``signed_in`` says whether it is changed within a session.

    Raises:
        InvalidInput: the password is needed.
        EmailTaken: another account has it. Said early: the unique index decides.
    """
    called_off = {"pending_email": ""}
    key = email.lower() if email else None
    if user.email and key == user.email.lower():
        return Change({"email_key": key}, {"email": email}, called_off)
    values, removed = {"email": email, "email_verified": False}, called_off
    if key:
        values["email_key"] = key
    else:
        removed |= {"email_key": ""}
    if not proven and (user.email_verified or not signed_in):
        raise password_needed()
    if not user.email_verified:
        return Change({"email_verified": {"$ne": True}}, values, removed, is_event=True, to_verify=bool(email))
    holds = {"email_verified": True}
    if not email:
        return Change(holds, values, removed, is_event=True, gives_up=user.email)
    if await repository().is_taken(email):
        raise EmailTaken
    return Change(holds, {"pending_email": email}, {}, to_verify=True, gives_up=user.email)


def password_needed() -> InvalidInput:
    """The error of whoever changes an address without the password that it takes."""
    return InvalidInput(
        [FieldError("current_password", "Send your password: the address is verified, or you use an API token", "missing")]
    )


async def verify(holder: AccountWithPassword, address: str) -> bool:
    """As ``EmailRepository.verify``."""
    return await repository().verify(holder, address)


async def confirm(holder: AccountWithPassword, address: str) -> bool:
    """As ``EmailRepository.confirm_pending``."""
    return await repository().confirm_pending(holder, address)
