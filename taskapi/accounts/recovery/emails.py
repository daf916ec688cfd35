"""The texts of the mails about accounts, and their recipients."""

from dataclasses import dataclass
from email.message import EmailMessage
from typing import Final

from taskapi.accounts.recovery.documents import Purpose
from taskapi.accounts.recovery.tokens import OneTimeTokens
from taskapi.accounts.users.email_repository import AccountWithPassword, EmailRepository
from taskapi.audit.recorder import AuditLog
from taskapi.audit.repository import SecurityEventRepository
from taskapi.db.connection import BSON
from taskapi.mail.templates import Template, write

RESET: Final = Template(
    "Reset your password",
    (
        "Hello {username},",
        "a password reset was requested for your account. {how}",
        "{proof}",
        "It can be used once, within an hour. If you did not request it, ignore this mail: your password stays unchanged.",
    ),
)
VERIFY: Final = Template(
    "Verify your e-mail address",
    (
        "Hello {username},",
        "please confirm that {email} is the e-mail address of your account. {how}",
        "{proof}",
        "It can be used once, within an hour. If this is not your account, ignore this mail: its owner may have mistyped their "
        "e-mail address.",
    ),
)
PASSWORD_CHANGED: Final = Template(
    "Your password was changed",
    (
        "Hello {username},",
        "the password of your account was changed, and its other sessions were ended.",
        "If you did not do this, reset your password now: a reset mail can be requested for this e-mail address.",
    ),
)
EMAIL_CHANGES: Final = Template(
    "Your e-mail address is changing",
    (
        "Hello {username},",
        "a request was made, with your password, to replace or remove {email}, the e-mail address of your account.",
        "If you did not do this, change your password now. That also cancels a change that is not confirmed yet.",
    ),
)
WEBHOOK_DISABLED: Final = Template(
    "A webhook was disabled",
    (
        "Hello {username},",
        "one of your webhooks was disabled, because its receiver wants nothing more (it answered 410 Gone), or has failed for "
        "five days. No events are sent to it any longer.",
        "GET /webhooks shows which one it is, and why. When the receiver works again, enable it with PATCH /webhooks/{{id}}, and "
        "load what has changed meanwhile from GET /tasks/changes.",
    ),
)
NOTICES: Final = {"notice_password": PASSWORD_CHANGED, "notice_email": EMAIL_CHANGES, "notice_webhook": WEBHOOK_DISABLED}
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
        """The mail, with a new token where it needs one. None when it has no recipient or is no longer needed.

        Raises:
            ValueError: this version does not write mails of that kind.
        """
        if job["kind"] == "password_reset":
            account = await self.accounts.find_account_by_email(job["address"])
            await self._record_request(job, account)
            return await self._write_with_token(RESET, "password_reset", account, account.user.email if account else None)
        account = await self.accounts.find_account(job["user"])
        if job["kind"] == "verify_email":
            email = account.user.unverified_email if account else None
            return await self._write_with_token(VERIFY, "verify_email", account, email)
        if job["kind"] in NOTICES:
            return self._write_notice(NOTICES[job["kind"]], account, job["address"])
        raise ValueError(f"no mail of the kind {job['kind']!r} is known")

    async def _write_with_token(
        self, template: Template, purpose: Purpose, account: AccountWithPassword | None, email: str | None
    ) -> EmailMessage | None:
        if account is None or email is None:
            return None
        token = await self.tokens.create(purpose, account, email)
        if self.app_url:
            how, proof = "Open this page:", f"{self.app_url}/{PAGES[purpose]}#token={token}"
        else:
            how, proof = f"Send this token to {CALLS[purpose]}:", token
        values = {"username": account.user.username, "email": email, "how": how, "proof": proof}
        return write(template, self.sender, email, values)

    def _write_notice(self, template: Template, account: AccountWithPassword | None, email: str | None) -> EmailMessage | None:
        if account is not None and account.user.email_verified:  # another address may be that of someone else
            email = email or account.user.email
        if account is None or email is None:
            return None
        return write(template, self.sender, email, {"username": account.user.username, "email": email})

    async def _record_request(self, job: BSON, account: AccountWithPassword | None) -> None:
        """Records that a reset was requested: here, because the request itself did not look up the account."""
        if job["attempts"] > 1:
            return
        audit_log = AuditLog(self.events, job["origin"]["address"], job["origin"]["agent"])
        if account:
            await audit_log.record("password_reset_requested", account.user.object_id)
        else:
            await audit_log.record("password_reset_requested", None, outcome="failure")
