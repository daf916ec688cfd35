"""The rules for changing the e-mail address of an account.

An unverified address is replaced at once; with an API token this needs the password, since anyone who reads mail to the new
address can reset the password. A verified address is replaced once the new one (``pending_email``) is verified, and this always
needs the password.
"""

from dataclasses import dataclass

from bson import ObjectId

from taskapi.accounts.errors import EmailTaken
from taskapi.accounts.users.email_repository import EmailRepository
from taskapi.accounts.users.schemas import UserRead
from taskapi.audit.recorder import AuditLog
from taskapi.core.errors import FieldError, InvalidInput
from taskapi.db.connection import BSON
from taskapi.mail.queue import Outbox


@dataclass(frozen=True, slots=True)
class EmailChange:
    """A planned change of address: the state it requires, the values to write, and what follows the write."""

    conditions: BSON
    values: BSON
    removed: BSON
    is_event: bool = False
    to_verify: bool = False
    replaced: str | None = None  # a verified address, to which a notice is sent

    async def follow_up(self, user_id: ObjectId, mail: Outbox, audit_log: AuditLog) -> None:
        """Records the change and queues its mails, after the write."""
        if self.is_event:
            await audit_log.record("email_changed", user_id)
        if self.to_verify:
            await mail.enqueue("verify_email", audit_log, user=user_id)
        if self.replaced:
            await mail.enqueue("notice_email", audit_log, user=user_id, email=self.replaced)


async def plan_change(
    emails: EmailRepository, user: UserRead, email: str | None, *, password_confirmed: bool, signed_in: bool
) -> EmailChange:
    """Plans the change of the address of ``user`` to ``email``, or its removal. ``signed_in``: within a session.

    Raises:
        InvalidInput: the current password is required.
        EmailTaken: another account has it. A courtesy: the unique index decides.
    """
    without_pending = {"pending_email": ""}
    key = email.lower() if email else None
    if user.email and key == user.email.lower():
        return EmailChange({"email_key": key}, {"email": email}, without_pending)
    values, removed = {"email": email, "email_verified": False}, without_pending
    if key:
        values["email_key"] = key
    else:
        removed |= {"email_key": ""}
    if not password_confirmed and (user.email_verified or not signed_in):
        raise password_needed()
    if not user.email_verified:
        return EmailChange({"email_verified": {"$ne": True}}, values, removed, is_event=True, to_verify=bool(email))
    is_verified = {"email_verified": True}
    if not email:
        return EmailChange(is_verified, values, removed, is_event=True, replaced=user.email)
    if await emails.is_taken(email):
        raise EmailTaken
    return EmailChange(is_verified, {"pending_email": email}, {}, to_verify=True, replaced=user.email)


def password_needed() -> InvalidInput:
    """The error for a change of address without the required password."""
    return InvalidInput(
        [FieldError("current_password", "Send your password: the address is verified, or you use an API token", "missing")]
    )
