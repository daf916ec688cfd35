"""What can be done with a second factor, and how it is asked for."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from bson import ObjectId

from taskapi.accounts.errors import (
    BadSecondFactor,
    NoEnrolment,
    SecondFactorRequired,
    TwoFactorOff,
    TwoFactorOn,
    UnreadableFactor,
    WrongCode,
    WrongPassword,
)
from taskapi.accounts.security.throttling import Throttle
from taskapi.accounts.two_factor import codes
from taskapi.accounts.two_factor import repository as two_factor
from taskapi.accounts.two_factor.schemas import Enrolment, RecoveryCodesMade
from taskapi.accounts.users.schemas import UserRead
from taskapi.accounts.users.service import Reauthenticator
from taskapi.audit.recorder import AuditLog
from taskapi.core.clock import in_utc, utc_now
from taskapi.core.keys import Cipher, Signer

log = logging.getLogger(__name__)

ENROLMENT: Final = timedelta(minutes=10)
MAX_CHECKED: Final = 5000  # second factors whose keys are looked for; a Fernet token takes some 30 us
PACE: Final = 20  # of them at a time, so that requests need not wait
UNREADABLE: Final = "made with a secret key that is not set"
REMEDY: Final = (
    "put that key behind the current one in TASKAPI_SECRET_KEYS, or take them off with: taskapi users remove-two-factor"
)


@dataclass(frozen=True, slots=True)
class TwoFactorKeys:
    """What keeps the secrets of second factors from whoever reads the database."""

    cipher: Cipher  # of the secrets
    signer: Signer  # of the recovery codes

    def hashes(self, user: ObjectId, code: str) -> list[bytes]:
        """The hashes of a recovery code of ``user``, by the current key first."""
        return list(self.signer.signatures(user.binary, codes.plain(code).encode()))


async def begin(user: UserRead, password: str, reauthenticator: Reauthenticator, keys: TwoFactorKeys) -> Enrolment:
    """Makes a secret for ``user``, in place of one that they did not confirm. Nothing is asked for until they do.

    Raises:
        WrongPassword: that is not their password.
        TwoFactorOn: they have a second factor.
        Overloaded: too many passwords are being checked.
    """
    password_hash = await reauthenticator.confirm_password(user, password)
    secret, expires_at = codes.new_secret(), utc_now() + ENROLMENT
    if not await two_factor.begin(user.object_id, password_hash, keys.cipher.encrypt(secret), expires_at):
        on, _ = await two_factor.of(user.object_id)
        if on:
            raise TwoFactorOn
        raise WrongPassword
    return Enrolment(secret=secret, uri=codes.uri_of(secret, user.username), expires_at=expires_at)


async def confirm(
    user: UserRead, session: ObjectId, code: str, throttle: Throttle, audit_log: AuditLog, keys: TwoFactorKeys
) -> RecoveryCodesMade:
    """Turns the second factor on that ``user`` has begun, as their authenticator has its secret. It ends their other sessions.

    Raises:
        TooManyAttempts: there were too many wrong codes.
        NoEnrolment: there is none to confirm, it has expired, or its key is gone.
        WrongCode: that is not a code of this moment.
    """
    now = utc_now()
    on, authenticator = await two_factor.of(user.object_id)
    if on or authenticator is None or in_utc(authenticator["expires_at"]) <= now:
        raise NoEnrolment
    secret = keys.cipher.decrypt(authenticator["secret"])
    if secret is None:
        raise NoEnrolment
    async with throttle.confirmation(user.object_id):
        step = codes.step_of(code, secret, now)
        if step is None:
            raise WrongCode
    recovery = codes.new_recovery_codes()
    hashes = [keys.hashes(user.object_id, made)[0] for made in recovery]
    if not await two_factor.confirm(user.object_id, session, authenticator["secret"], step, hashes):
        raise NoEnrolment
    await audit_log.record("two_factor_enabled", user.object_id)
    return RecoveryCodesMade(recovery_codes=recovery)


async def renew_recovery_codes(
    user: UserRead, password: str, reauthenticator: Reauthenticator, audit_log: AuditLog, keys: TwoFactorKeys
) -> RecoveryCodesMade:
    """Other recovery codes in place of those that are left.

    Raises:
        WrongPassword, Overloaded: as for ``begin``.
        TwoFactorOff: they have no second factor.
    """
    password_hash = await reauthenticator.confirm_password(user, password)
    recovery = codes.new_recovery_codes()
    hashes = [keys.hashes(user.object_id, made)[0] for made in recovery]
    if not await two_factor.replace_recovery(user.object_id, password_hash, hashes):
        raise TwoFactorOff
    await audit_log.record("recovery_codes_made", user.object_id)
    return RecoveryCodesMade(recovery_codes=recovery)


async def disable(user: UserRead, password: str, reauthenticator: Reauthenticator, audit_log: AuditLog) -> None:
    """Turns the second factor of ``user`` off.

    Raises:
        WrongPassword, Overloaded: as for ``begin``.
        TwoFactorOff: they have none.
    """
    password_hash = await reauthenticator.confirm_password(user, password)
    if not await two_factor.remove(user.object_id, {"password_hash": password_hash}):
        raise TwoFactorOff
    await audit_log.record("two_factor_disabled", user.object_id)


async def remove(user: ObjectId, audit_log: AuditLog) -> bool:
    """Takes a lost second factor off an account, for operators. False when it had none."""
    removed = await two_factor.remove(user, {})
    if removed:
        await audit_log.record("two_factor_disabled", user)
    return removed


async def check_code(user: UserRead, code: str | None, audit_log: AuditLog, keys: TwoFactorKeys) -> None:
    """Returns when ``user``, whose password was right, has no second factor or proves it: each code serves once.

    Raises:
        SecondFactorRequired: they have one, and sent no code.
        BadSecondFactor: the code is wrong, of another moment, or was used.
        UnreadableFactor: that cannot be told, as the key of the second factor is not set.
    """
    if not user.two_factor:
        return
    if not code:
        await audit_log.record("sign_in", user.object_id, outcome="failure", reason="no second factor")
        raise SecondFactorRequired
    _, authenticator = await two_factor.of(user.object_id)
    sealed = authenticator["secret"] if authenticator else b""
    secret = keys.cipher.decrypt(sealed)
    if secret and await _is_of_this_moment(user, code, sealed, secret, keys):
        return
    if await _is_left(user, code, audit_log, keys):
        return
    if sealed and secret is None:
        log.error("the second factor of %s was %s: %s", user.id, UNREADABLE, REMEDY)
        await audit_log.record("sign_in", user.object_id, outcome="failure", reason="second factor unreadable")
        raise UnreadableFactor
    await audit_log.record("sign_in", user.object_id, outcome="failure", reason="wrong second factor")
    raise BadSecondFactor


async def _is_of_this_moment(user: UserRead, code: str, sealed: bytes, secret: str, keys: TwoFactorKeys) -> bool:
    step = codes.step_of(code, secret, utc_now())
    return step is not None and await two_factor.pass_step(user.object_id, sealed, step, keys.cipher.renewed(sealed))


async def _is_left(user: UserRead, code: str, audit_log: AuditLog, keys: TwoFactorKeys) -> bool:
    left = await two_factor.spend(user.object_id, keys.hashes(user.object_id, code))
    if left is None:
        return False
    await audit_log.record("recovery_code_used", user.object_id, left=str(left))
    return True


async def report_unreadable(cipher: Cipher) -> None:
    """Logs how many second factors cannot be checked with the keys that are set, of the first ``MAX_CHECKED``."""
    checked = unreadable = 0
    async for sealed in two_factor.sealed_secrets(MAX_CHECKED):
        checked += 1
        unreadable += cipher.decrypt(sealed) is None
        if checked % PACE == 0:
            await asyncio.sleep(0)  # requests are waiting
    if unreadable:
        extent = "at least " if checked == MAX_CHECKED else ""
        log.warning("%s%d second factors were %s: %s", extent, unreadable, UNREADABLE, REMEDY)
