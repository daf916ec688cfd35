"""The texts of the mails about accounts, and their recipients."""

from dataclasses import dataclass
from email.message import EmailMessage
from typing import Final

from taskapi.accounts.recovery.tokens import OneTimeTokens, Purpose
from taskapi.accounts.users.email_repository import AccountWithPassword, EmailRepository
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
    """Writes the mail of each job. ``app_url`` is the web application whose pages accept the tokens, if there is one."""

    tokens: OneTimeTokens
    accounts: EmailRepository
    events: SecurityEventRepository
    sender: str
    app_url: str | None

    async def compose(self, job: BSON) -> EmailMessage | None:
        """The mail, with a new token where it needs one. None when it has no recipient or is no longer needed."""
        if job["kind"] == "password_reset":
            account = await self.accounts.find_account_by_email(job["address"])
            await self._record_request(job, account)
            return await self._write_with_token(RESET, "password_reset", account, account.user.email if account else None)
        account = await self.accounts.find_account(job["user"])
        if job["kind"] == "verify_email":
            address = account.user.unverified_email if account else None
            return await self._write_with_token(VERIFY, "verify_email", account, address)
        return self._write_notice(EMAIL_CHANGES if job["kind"] == "notice_email" else PASSWORD_CHANGED, account, job["address"])

    async def _write_with_token(
        self, template: Template, purpose: Purpose, account: AccountWithPassword | None, address: str | None
    ) -> EmailMessage | None:
        if account is None or address is None:
            return None
        token = await self.tokens.create(purpose, account, address)
        if self.app_url:
            how, proof = "Open this page:", f"{self.app_url}/{PAGES[purpose]}#token={token}"
        else:
            how, proof = f"Send this token to {CALLS[purpose]}:", token
        values = {"username": account.user.username, "address": address, "how": how, "proof": proof}
        return write(template, self.sender, address, values)

    def _write_notice(self, template: Template, account: AccountWithPassword | None, address: str) -> EmailMessage | None:
        if account is None:
            return None
        return write(template, self.sender, address, {"username": account.user.username, "address": address})

    async def _record_request(self, job: BSON, account: AccountWithPassword | None) -> None:
        """Records that a reset was requested: here, because the request itself did not look up the account."""
        if job["attempts"] > 1:
            return
        audit_log = AuditLog(self.events, job["origin"]["address"], job["origin"]["agent"])
        if account:
            await audit_log.record("password_reset_requested", account.user.object_id)
        else:
            await audit_log.record("password_reset_requested", None, outcome="failure")
