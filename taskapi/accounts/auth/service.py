"""Signing in, refreshing tokens and revoking them."""

from contextlib import suppress
from dataclasses import dataclass

from taskapi.accounts.api_tokens.service import ApiTokenService
from taskapi.accounts.auth.schemas import Token, TokenRequest
from taskapi.accounts.errors import BadCredentials, InactiveUser, InvalidGrant
from taskapi.accounts.recovery.tokens import OneTimeTokens
from taskapi.accounts.security.access_tokens import PasswordHasher, TokenCodec
from taskapi.accounts.security.scopes import OF_ROLE, grant_scopes
from taskapi.accounts.security.throttling import Attempt, Throttle
from taskapi.accounts.sessions.service import SessionGrant, SessionService
from taskapi.accounts.two_factor.service import TwoFactorService
from taskapi.accounts.users.repository import UserRepository
from taskapi.audit.recorder import AuditLog
from taskapi.core.clock import utc_now
from taskapi.core.errors import FieldError, InvalidInput, InvalidToken, NotFound


@dataclass(frozen=True, slots=True)
class SignIn:
    """Signs users in, and revokes their tokens."""

    users: UserRepository
    sessions: SessionService
    api_tokens: ApiTokenService
    one_time_tokens: OneTimeTokens
    hasher: PasswordHasher
    codec: TokenCodec
    two_factor: TwoFactorService
    throttle: Throttle

    async def grant(self, form: TokenRequest, audit_log: AuditLog) -> Token:
        """An access token and a refresh token, for a password or a refresh token.

        Raises:
            InvalidInput: a field that the grant needs is missing.
            BadCredentials, InactiveUser, SecondFactorRequired, BadSecondFactor, Overloaded: as ``_sign_in`` says.
            InvalidGrant: the refresh token is wrong, used or expired.
            InvalidScope: the account can have none of the requested scopes.
            TooManyAttempts: there were too many failures recently.
        """
        needed = ("refresh_token",) if form.grant_type == "refresh_token" else ("username", "password")
        if missing := [name for name in needed if getattr(form, name) is None]:
            raise InvalidInput([FieldError(name, "Field required", "missing") for name in missing])
        if form.refresh_token is not None and form.grant_type == "refresh_token":
            try:
                given = await self.sessions.refresh(form.refresh_token, form.scope, audit_log)
            except InvalidGrant:
                await self.throttle.refused_refresh(audit_log.ip_address)
                raise
        else:
            async with self.throttle.sign_in(form.username or "", audit_log.ip_address) as attempt:
                given = await self._sign_in(form, attempt, audit_log)
        lifetime = min(self.codec.lifetime, given.ends_at - utc_now())  # no token outlives its session
        return Token(
            access_token=self.codec.encode(given.user.id, str(given.session), given.scopes, lifetime),
            expires_in=int(lifetime.total_seconds()),
            refresh_token=given.refresh_token,
            scope=" ".join(sorted(given.scopes)),
        )

    async def _sign_in(self, form: TokenRequest, attempt: Attempt, audit_log: AuditLog) -> SessionGrant:
        """A session for a user name, a password and a second factor's code. An unknown name takes as long as a wrong password.

        Raises:
            BadCredentials: the user name and password do not match an account.
            InactiveUser: they match, but the account is disabled.
            SecondFactorRequired, BadSecondFactor: as ``TwoFactorService.check_code`` says.
            InvalidScope: the account can have none of the requested scopes.
            Overloaded: too many passwords are being hashed.
        """
        user, stored = await self.users.find_for_sign_in(form.username or "")
        matches, renewed = await self.hasher.verify(form.password or "", stored)
        if user is None or stored is None or not matches:
            attempt.is_wrong = True
            await audit_log.record("sign_in", user.object_id if user else None, outcome="failure")
            raise BadCredentials
        if user.disabled:
            await audit_log.record("sign_in", user.object_id, outcome="failure", reason="disabled")
            raise InactiveUser
        scopes = grant_scopes(form.scope, OF_ROLE[user.role])  # before the second factor is checked: a code can be used once
        await self.two_factor.check_code(user, form.otp, attempt, audit_log)
        given = await self.sessions.create(user, stored, renewed, scopes, audit_log)
        if given is None:  # perhaps because another sign-in has renewed the hash of this password meanwhile
            _, stored = await self.users.find_for_sign_in(user.username)
            matches, renewed = await self.hasher.verify(form.password or "", stored)
            if stored and matches:
                given = await self.sessions.create(user, stored, renewed, scopes, audit_log)
        if given is None or stored is None:
            raise BadCredentials
        await audit_log.record("sign_in", user.object_id, session=str(given.session))
        if renewed:
            await self.one_time_tokens.rebind(user.object_id, stored, renewed)
        return given

    async def revoke(self, token: str, audit_log: AuditLog) -> None:
        """Revokes an API token, or ends the session of a refresh or access token. Any other text is ignored."""
        if await self.sessions.revoke(token, audit_log) or await self.api_tokens.revoke_text(token, audit_log):
            return
        try:
            claims = self.codec.read(token)
        except InvalidToken:
            return
        with suppress(NotFound):
            await self.sessions.end(claims.user, claims.session, audit_log)
