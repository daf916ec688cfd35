"""Signing in, staying signed in, signing out."""

from contextlib import suppress
from dataclasses import dataclass

from bson import ObjectId

from taskapi.accounts.api_tokens import service as api_tokens
from taskapi.accounts.api_tokens.service import Holder
from taskapi.accounts.auth.schemas import Token, TokenRequest
from taskapi.accounts.errors import BadCredentials, InactiveUser, InvalidGrant, InvalidToken
from taskapi.accounts.security.access_tokens import PasswordHasher, TokenCodec
from taskapi.accounts.security.request_quota import RequestLimit
from taskapi.accounts.security.scopes import OF_ROLE, granted
from taskapi.accounts.security.throttling import Throttle
from taskapi.accounts.sessions import service as sessions
from taskapi.accounts.sessions.service import Grant, Rules
from taskapi.accounts.two_factor import service as two_factor
from taskapi.accounts.two_factor.service import Seals
from taskapi.accounts.users import service as users
from taskapi.accounts.users.schemas import Account
from taskapi.accounts.users.service import Prover
from taskapi.audit.recorder import Trail
from taskapi.core.clock import utc_now
from taskapi.core.data_loader import Coalescer
from taskapi.core.errors import Fault, InvalidInput, NotFound
from taskapi.core.fields import object_id
from taskapi.core.last_used import Sightings


@dataclass(frozen=True, slots=True)
class AuthTools:
    """What ``main`` makes for signing in and keeps in ``app.state.auth``."""

    hasher: PasswordHasher
    codec: TokenCodec
    rules: Rules
    accounts: Coalescer[ObjectId, Account]
    seen: Sightings[ObjectId]  # sessions
    tokens: Coalescer[bytes, Holder]  # API tokens by their hashes
    used: Sightings[bytes]  # the same
    seals: Seals
    throttle: Throttle
    limit: RequestLimit | None

    def prover(self, session: ObjectId | None, trail: Trail) -> Prover:
        """Asks for current passwords within ``session``."""
        return Prover(self.hasher, self.throttle, session, trail)


async def grant(form: TokenRequest, tools: AuthTools, trail: Trail) -> Token:
    """An access token and a refresh token, for a password or for the refresh token before.

    Raises:
        InvalidInput: a field that the grant needs is missing.
        BadCredentials, InactiveUser, SecondFactorRequired, BadSecondFactor, Overloaded: as ``_sign_in`` says.
        InvalidGrant: the refresh token is wrong, spent or expired.
        InvalidScope: none of the scopes can be had.
        TooManyAttempts: too many were wrong lately.
    """
    needed = ("refresh_token",) if form.grant_type == "refresh_token" else ("username", "password")
    if missing := [name for name in needed if getattr(form, name) is None]:
        raise InvalidInput([Fault(name, "Field required", "missing") for name in missing])
    if form.refresh_token is not None and form.grant_type == "refresh_token":
        try:
            given = await sessions.refresh(form.refresh_token, form.scope, tools.accounts.get, trail, tools.rules)
        except InvalidGrant:
            await tools.throttle.refused_refresh(trail.address)
            raise
    else:
        async with tools.throttle.sign_in(form.username or "", trail.address):
            given = await _sign_in(form.username or "", form.password or "", form.otp, form.scope, tools, trail)
    lifetime = min(tools.codec.lifetime, given.ends_at - utc_now())  # no token outlives its session
    return Token(
        access_token=tools.codec.encode(given.user.id, str(given.session), given.scopes, lifetime),
        expires_in=int(lifetime.total_seconds()),
        refresh_token=given.refresh_token,
        scope=" ".join(sorted(given.scopes)),
    )


async def _sign_in(username: str, password: str, otp: str | None, scope: str, tools: AuthTools, trail: Trail) -> Grant:
    """A session for a user name and password, and what proves a second factor. An unknown name takes as long as a wrong password.

    Raises:
        BadCredentials: they do not match an account.
        InactiveUser: they do, but it is disabled.
        SecondFactorRequired, BadSecondFactor: as ``twofactor.service.prove`` says.
        InvalidScope: it cannot have any of these scopes.
        Overloaded: too many others are signing in.
    """
    user, stored = await users.for_sign_in(username)
    matches, renewed = await tools.hasher.verify(password, stored)
    if user is None or stored is None or not matches:
        await trail.record("sign_in", user.object_id if user else None, outcome="failure")
        raise BadCredentials
    if user.disabled:
        await trail.record("sign_in", user.object_id, outcome="failure", reason="disabled")
        raise InactiveUser
    scopes = granted(scope, OF_ROLE[user.role])  # before the second factor is proven: a code serves once
    await two_factor.prove(user, otp, trail, tools.seals)
    given = await sessions.begin(user, stored, renewed, scopes, trail, tools.rules)
    if given is None:
        raise BadCredentials
    await trail.record("sign_in", user.object_id, session=str(given.session))
    return given


async def revoke(token: str, tools: AuthTools, trail: Trail) -> None:
    """Ends the session that a refresh or access token belongs to, or an API token itself. Any other is none to worry about."""
    if await sessions.revoke(token, trail, tools.rules) or await api_tokens.give_back(token, trail):
        return
    try:
        claims = tools.codec.read(token)
    except InvalidToken:
        return
    user, session = object_id(claims.subject), object_id(claims.session)
    if user:
        with suppress(NotFound):
            await sessions.end(user, session, trail)
