"""Turns second factors on and off, and checks their codes at sign-in."""

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
from taskapi.accounts.security.throttling import Attempt, Throttle
from taskapi.accounts.two_factor import codes
from taskapi.accounts.two_factor.repository import TwoFactorRepository
from taskapi.accounts.two_factor.schemas import Enrolment, RecoveryCodesMade
from taskapi.accounts.users.schemas import UserRead
from taskapi.accounts.users.service import Reauthenticator
from taskapi.audit.recorder import AuditLog
from taskapi.core.clock import in_utc, utc_now
from taskapi.core.keys import Cipher, Signer

log = logging.getLogger(__name__)

ENROLMENT: Final = timedelta(minutes=10)
MAX_CHECKED: Final = 5000  # second factors per report; decrypting one takes about 30 us
PACE: Final = 20  # of them at a time, so that requests need not wait
UNREADABLE: Final = "created with a secret key that is not set"
REMEDY: Final = "add that key after the current one in TASKAPI_SECRET_KEYS, or remove them with: taskapi users remove-two-factor"


@dataclass(frozen=True, slots=True)
class TwoFactorKeys:
    """The keys that protect second factors from readers of the database."""

    cipher: Cipher  # of the secrets
    signer: Signer  # of the recovery codes

    def hashes(self, user_id: ObjectId, code: str) -> list[bytes]:
        """The hashes of a recovery code of an account, by the current key first."""
        return list(self.signer.signatures(user_id.binary, codes.plain(code).encode()))


@dataclass(frozen=True, slots=True)
class TwoFactorService:
    """Turns second factors on and off, and checks their codes."""

    factors: TwoFactorRepository
    keys: TwoFactorKeys
    throttle: Throttle

    async def start_enrollment(self, user: UserRead, password: str, reauthenticator: Reauthenticator) -> Enrolment:
        """Creates a secret for ``user``, replacing one that was not confirmed. Signing in needs no code until it is confirmed.

        Raises:
            WrongPassword: ``password`` is wrong, or was changed meanwhile.
            TwoFactorOn: the account has a second factor.
            InvalidToken: the session ended, or the account was disabled or deleted meanwhile.
            Overloaded: too many passwords are being hashed.
        """
        confirmed = await reauthenticator.confirm(user, password)
        secret, expires_at = codes.new_secret(), utc_now() + ENROLMENT
        if not await self.factors.enroll(user.object_id, confirmed, self.keys.cipher.encrypt(secret), expires_at):
            await reauthenticator.require_session(user)
            if (await self.factors.find(user.object_id)).is_on:
                raise TwoFactorOn
            raise WrongPassword
        return Enrolment(secret=secret, uri=codes.uri_of(secret, user.username), expires_at=expires_at)

    async def confirm(self, user: UserRead, session_id: ObjectId, code: str, audit_log: AuditLog) -> RecoveryCodesMade:
        """Turns on the second factor that ``user`` is setting up, given a code from it. Ends all other sessions.

        Raises:
            TooManyAttempts: there were too many wrong codes.
            NoEnrolment: there is none to confirm, it has expired, or its key is no longer set.
            WrongCode: the code is not valid right now.
        """
        now = utc_now()
        factor = await self.factors.find(user.object_id)
        if factor.is_on or factor.expires_at is None or in_utc(factor.expires_at) <= now:
            raise NoEnrolment
        secret = self.keys.cipher.decrypt(factor.secret)
        if secret is None:
            raise NoEnrolment
        async with self.throttle.confirmation(user.object_id):
            step = codes.step_of(code, secret, now)
            if step is None:
                raise WrongCode
        recovery = codes.new_recovery_codes()
        if not await self.factors.confirm(user.object_id, session_id, factor.secret, step, self._hash_all(user, recovery)):
            raise NoEnrolment
        await audit_log.record("two_factor_enabled", user.object_id)
        return RecoveryCodesMade(recovery_codes=recovery)

    async def renew_recovery_codes(
        self, user: UserRead, password: str, reauthenticator: Reauthenticator, audit_log: AuditLog
    ) -> RecoveryCodesMade:
        """Replaces the recovery codes of ``user``.

        Raises:
            WrongPassword, InvalidToken, Overloaded: as for ``start_enrollment``.
            TwoFactorOff: the account has no second factor.
        """
        confirmed = await reauthenticator.confirm(user, password)
        recovery = codes.new_recovery_codes()
        if not await self.factors.replace_recovery_codes(user.object_id, confirmed, self._hash_all(user, recovery)):
            await reauthenticator.require_session(user)
            raise TwoFactorOff
        await audit_log.record("recovery_codes_made", user.object_id)
        return RecoveryCodesMade(recovery_codes=recovery)

    async def disable(self, user: UserRead, password: str, reauthenticator: Reauthenticator, audit_log: AuditLog) -> None:
        """Turns the second factor of ``user`` off.

        Raises:
            WrongPassword, InvalidToken, Overloaded: as for ``start_enrollment``.
            TwoFactorOff: the account has no second factor.
        """
        confirmed = await reauthenticator.confirm(user, password)
        if not await self.factors.remove(user.object_id, confirmed):
            await reauthenticator.require_session(user)
            raise TwoFactorOff
        await audit_log.record("two_factor_disabled", user.object_id)

    async def check_code(self, user: UserRead, code: str | None, attempt: Attempt, audit_log: AuditLog) -> None:
        """Checks the second factor of ``user``, whose password was right, if there is one. Each code works once.

        Raises:
            SecondFactorRequired: the account has a second factor, and no code was sent.
            BadSecondFactor: the code is wrong, not valid right now, or already used.
            UnreadableFactor: the code cannot be checked, because the key of the second factor is not set.
        """
        if not user.two_factor:
            return
        if not code:
            await audit_log.record("sign_in", user.object_id, outcome="failure", reason="no second factor")
            raise SecondFactorRequired
        encrypted = (await self.factors.find(user.object_id)).secret
        secret = self.keys.cipher.decrypt(encrypted)
        if secret and await self._use_time_code(user, code, encrypted, secret):
            return
        attempt.is_wrong = True  # as a code of the authenticator
        if await self._use_recovery_code(user, code, audit_log):
            attempt.is_wrong = False
            return
        if encrypted and secret is None:
            log.error("the second factor of %s was %s: %s", user.id, UNREADABLE, REMEDY)
            await audit_log.record("sign_in", user.object_id, outcome="failure", reason="second factor unreadable")
            raise UnreadableFactor
        await audit_log.record("sign_in", user.object_id, outcome="failure", reason="wrong second factor")
        raise BadSecondFactor

    async def _use_time_code(self, user: UserRead, code: str, encrypted: bytes, secret: str) -> bool:
        step = codes.step_of(code, secret, utc_now())
        renewed = self.keys.cipher.renewed
        return step is not None and await self.factors.use_step(user.object_id, encrypted, step, renewed(encrypted))

    async def _use_recovery_code(self, user: UserRead, code: str, audit_log: AuditLog) -> bool:
        left = await self.factors.use_recovery_code(user.object_id, self.keys.hashes(user.object_id, code))
        if left is None:
            return False
        await audit_log.record("recovery_code_used", user.object_id, left=str(left))
        return True

    def _hash_all(self, user: UserRead, recovery: list[str]) -> list[bytes]:
        return [self.keys.hashes(user.object_id, code)[0] for code in recovery]


async def remove_lost(factors: TwoFactorRepository, user_id: ObjectId, audit_log: AuditLog) -> bool:
    """Removes a second factor that its owner has lost, for operators. False when the account had none."""
    removed = await factors.remove(user_id)
    if removed:
        await audit_log.record("two_factor_disabled", user_id)
    return removed


async def report_unreadable(factors: TwoFactorRepository, cipher: Cipher) -> None:
    """Logs how many second factors cannot be checked with the keys that are set, of the first ``MAX_CHECKED``."""
    checked = unreadable = 0
    async for encrypted in factors.stream_secrets(MAX_CHECKED):
        checked += 1
        unreadable += cipher.decrypt(encrypted) is None
        if checked % PACE == 0:
            await asyncio.sleep(0)  # lets waiting requests run
    if unreadable:
        extent = "at least " if checked == MAX_CHECKED else ""
        log.warning("%s%d second factors were %s: %s", extent, unreadable, UNREADABLE, REMEDY)
