"""Resets passwords and verifies e-mail addresses."""

from dataclasses import dataclass

from taskapi.accounts.deletion.service import Eraser
from taskapi.accounts.errors import InvalidOneTimeToken, NothingToVerify
from taskapi.accounts.recovery.tokens import OneTimeTokens
from taskapi.accounts.security import password_policy
from taskapi.accounts.security.access_tokens import PasswordHasher
from taskapi.accounts.security.throttling import Throttle
from taskapi.accounts.users.email_repository import EmailRepository
from taskapi.accounts.users.schemas import UserRead
from taskapi.audit.recorder import AuditLog
from taskapi.mail.queue import Outbox


class TakeoverErasers(tuple[Eraser, ...]):
    """What else to erase when the owner of an unverified address takes over an account: it could act for who created that."""


@dataclass(frozen=True, slots=True)
class AccountRecovery:
    """What the owner of an account can do with a token from a mail."""

    tokens: OneTimeTokens
    accounts: EmailRepository
    hasher: PasswordHasher
    throttle: Throttle
    mail: Outbox

    async def request_reset(self, email: str, audit_log: AuditLog) -> None:
        """Queues a reset mail to the account with this e-mail address, if there is one.

        The account is looked up only when the mail is written, so neither the writes nor the response time reveal whether it
        exists.

        Raises:
            TooManyAttempts: too many resets were requested, for that e-mail address or from the caller's IP address.
        """
        await self.throttle.reset_request(email, audit_log.ip_address)
        await self.mail.enqueue("password_reset", audit_log, email=email)

    async def reset_password(self, token: str, password: str, audit_log: AuditLog, erasers: TakeoverErasers) -> None:
        """Sets a new password, which ends every session. The token proves that its owner reads the address: it is verified.

        Runs ``erasers`` if it was not verified before.

        Raises:
            InvalidOneTimeToken: the token is wrong, used or expired, or invalidated by a change of the password or the address.
            InvalidInput: the new password is too easy to guess.
            Overloaded: too many passwords are being hashed.
        """
        account, email = await self.tokens.find("password_reset", token)
        user = account.user
        password_policy.check(password, user.username, email, user.full_name)
        hashed = await self.hasher.hash(password)
        erasers = TakeoverErasers(() if user.email_verified else erasers)
        for erase in erasers:  # if one fails, the token still works for another try
            await erase(user.object_id)
        if not await self.accounts.reset_password(account, email, hashed):
            raise InvalidOneTimeToken
        for erase in erasers:  # what sessions that have ended now created meanwhile
            await erase(user.object_id)
        await self.tokens.remove("password_reset", token)
        await audit_log.record("password_reset", user.object_id)
        await self.mail.enqueue("notice_password", audit_log, user=user.object_id, email=email)
        await self.throttle.reset(user.username)

    async def verify(self, token: str, audit_log: AuditLog) -> None:
        """Verifies an address: the account's own, or the pending one, which then replaces it.

        Raises:
            InvalidOneTimeToken: the token is wrong, used or expired, or invalidated by a change of the password or the address.
            EmailTaken: another account has the address by now.
        """
        account, email = await self.tokens.find("verify_email", token)
        replaces = email == account.user.pending_email
        if not await (self.accounts.confirm_pending if replaces else self.accounts.verify)(account, email):
            raise InvalidOneTimeToken
        await self.tokens.remove("verify_email", token)
        await audit_log.record("email_changed" if replaces else "email_verified", account.user.object_id)

    async def resend_verification(self, user: UserRead, audit_log: AuditLog) -> None:
        """Sends the mail again that verifies an address.

        Raises:
            NothingToVerify: the account has no unverified address.
            TooManyAttempts: too many such mails were requested for the account.
        """
        if user.unverified_email is None:
            raise NothingToVerify
        await self.throttle.verification(user.object_id)
        await self.mail.enqueue("verify_email", audit_log, user=user.object_id)
