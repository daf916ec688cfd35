"""Resetting passwords and verifying addresses."""

from taskapi.accounts.errors import InvalidOneTimeToken, NothingToVerify
from taskapi.accounts.recovery.tokens import OneTimeTokens
from taskapi.accounts.security import password_policy
from taskapi.accounts.security.access_tokens import PasswordHasher
from taskapi.accounts.security.throttling import Throttle
from taskapi.accounts.users import addresses
from taskapi.accounts.users import service as users
from taskapi.accounts.users.schemas import UserRead
from taskapi.audit.recorder import AuditLog
from taskapi.mail.queue import Outbox


async def forgot(email: str, throttle: Throttle, mail: Outbox, audit_log: AuditLog) -> None:
    """Has a mail sent to the account of that address, if there is one.

    The same writes whatever the address: who holds it is looked up when the mail is written, so an answer takes no time that
    would tell.

    Raises:
        TooManyAttempts: it was asked for too often, for that address or from that of the caller.
    """
    await throttle.reset_request(email, audit_log.address)
    await mail.enqueue("password_reset", audit_log, address=email)


async def reset(
    token: str,
    password: str,
    tokens: OneTimeTokens,
    hasher: PasswordHasher,
    throttle: Throttle,
    mail: Outbox,
    audit_log: AuditLog,
) -> None:
    """Sets a new password, which ends every session; whoever has the token reads the address, so it counts as verified.

    Raises:
        InvalidOneTimeToken: the token is wrong, used or expired, or dead since the password or the address changed.
        InvalidInput: the new password is too easy to guess.
        Overloaded: too many passwords are being hashed.
    """
    holder, address = await tokens.find("password_reset", token)
    password_policy.check(password, holder.user.username, address, holder.user.full_name)
    if not await users.reset_password(holder, address, password, hasher):
        raise InvalidOneTimeToken
    await tokens.delete("password_reset", token)
    await throttle.reset(holder.user.username)
    await audit_log.record("password_reset", holder.user.object_id)
    await mail.enqueue("notice_password", audit_log, user=holder.user.object_id, address=address)


async def verify(token: str, tokens: OneTimeTokens, audit_log: AuditLog) -> None:
    """Verifies an address: the account's own, or the one that is to take its place.

    Raises:
        InvalidOneTimeToken: the token is wrong, used or expired, or dead since the password or the address changed.
        EmailTaken: another account has the address meanwhile.
    """
    holder, address = await tokens.find("verify_email", token)
    replaces = address == holder.user.pending_email
    if not await (addresses.confirm if replaces else addresses.verify)(holder, address):
        raise InvalidOneTimeToken
    await tokens.delete("verify_email", token)
    await audit_log.record("email_changed" if replaces else "email_verified", holder.user.object_id)


async def verify_again(user: UserRead, throttle: Throttle, mail: Outbox, audit_log: AuditLog) -> None:
    """Has the mail that verifies an address sent again.

    Raises:
        NothingToVerify: no address of the account waits for it.
        TooManyAttempts: the account had too many such mails sent.
    """
    if addresses.unverified(user) is None:
        raise NothingToVerify
    await throttle.verification(user.object_id)
    await mail.enqueue("verify_email", audit_log, user=user.object_id)
