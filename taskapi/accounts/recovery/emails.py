"""What the mails about accounts say, and to whom they go."""

from dataclasses import dataclass
from email.message import EmailMessage
from typing import Final

from taskapi.accounts.recovery.tokens import OneTimeTokens, Purpose
from taskapi.accounts.users import addresses
from taskapi.accounts.users.email_repository import AccountWithPassword
from taskapi.audit.recorder import AuditLog
from taskapi.audit.repository import SecurityEventRepository
from taskapi.db.connection import BSON
from taskapi.mail.templates import Template, write

RESET: Final = Template(
    "Reset your password",
    (
        "Hello {username},",
        "a new password was asked for your account. {how}",
        "{proof}",
        "It can be used once, within an hour. If it was not you who asked, do nothing: your password stays as it is.",
    ),
)
VERIFY: Final = Template(
    "Verify your e-mail address",
    (
        "Hello {username},",
        "{address} was given as the address of your account. {how}",
        "{proof}",
        "It can be used once, within an hour. If you have no such account, do nothing: somebody mistyped their address.",
    ),
)
PASSWORD_CHANGED: Final = Template(
    "Your password was changed",
    (
        "Hello {username},",
        "your account has a new password, and its other sessions were ended.",
        "If it was not you, reset your password at once: a mail to this address lets you.",
    ),
)
EMAIL_CHANGES: Final = Template(
    "Your e-mail address changes",
    (
        "Hello {username},",
        "somebody who knows your password has asked to take {address} from your account: to replace it, or to remove it.",
        "If it was not you, change your password at once. That also calls off a change which is not confirmed yet.",
    ),
)
PAGES: Final = {"password_reset": "reset-password", "verify_email": "verify-email"}  # of the web application
CALLS: Final = {"password_reset": "POST /password/reset, with a new password", "verify_email": "POST /email/verify"}


@dataclass(frozen=True, slots=True)
class AccountEmails:
    """Writes the mail of each job. ``app_url`` is the web application whose pages take the tokens, when there is one."""

    tokens: OneTimeTokens
    sender: str
    app_url: str | None
    events: SecurityEventRepository

    async def compose(self, job: BSON) -> EmailMessage | None:
        """The mail, with a new token where it needs one. None when there is nobody to write to, or nothing to say any more."""
        if job["kind"] == "password_reset":
            holder = await addresses.holder_of(job["address"])
            await self._note(job, holder)
            return await self._proving(RESET, "password_reset", holder, holder.user.email if holder else None)
        holder = await addresses.holder(job["user"])
        if job["kind"] == "verify_email":
            return await self._proving(VERIFY, "verify_email", holder, addresses.unverified(holder.user) if holder else None)
        return self._notice(EMAIL_CHANGES if job["kind"] == "notice_email" else PASSWORD_CHANGED, holder, job["address"])

    async def _proving(
        self, template: Template, purpose: Purpose, holder: AccountWithPassword | None, address: str | None
    ) -> EmailMessage | None:
        if holder is None or address is None:
            return None
        token = await self.tokens.make(purpose, holder, address)
        if self.app_url:
            how, proof = "Open this page:", f"{self.app_url}/{PAGES[purpose]}#token={token}"
        else:
            how, proof = f"Send this token to {CALLS[purpose]}:", token
        values = {"username": holder.user.username, "address": address, "how": how, "proof": proof}
        return write(template, self.sender, address, values)

    def _notice(self, template: Template, holder: AccountWithPassword | None, address: str) -> EmailMessage | None:
        if holder is None:
            return None
        return write(template, self.sender, address, {"username": holder.user.username, "address": address})

    async def _note(self, job: BSON, holder: AccountWithPassword | None) -> None:
        """Leaves the event of a reset that was asked for: here, since the request did not look up whose it is."""
        if job["attempts"] > 1:
            return
        audit_log = AuditLog(self.events, job["origin"]["address"], job["origin"]["agent"])
        if holder:
            await audit_log.record("password_reset_requested", holder.user.object_id)
        else:
            await audit_log.record("password_reset_requested", None, outcome="failure")
