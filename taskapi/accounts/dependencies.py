"""The dependencies of routes: the authenticated caller, and the services of accounts."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from bson import ObjectId
from fastapi import Depends, Request, Security
from fastapi.security import OAuth2PasswordBearer, SecurityScopes
from starlette.types import Scope

from taskapi.accounts.api_tokens.service import ApiTokenService
from taskapi.accounts.api_tokens.text import PREFIX, hash_of
from taskapi.accounts.auth.loaders import AccountLoader, ApiTokensLastUsed, SessionsLastUsed, TokenOwnerLoader
from taskapi.accounts.auth.service import SignIn
from taskapi.accounts.errors import SessionRequired
from taskapi.accounts.security.access_tokens import Claims, PasswordHasher, TokenCodec
from taskapi.accounts.security.request_quota import RequestLimit
from taskapi.accounts.security.scopes import MEANING, OF_ROLE, Scopes
from taskapi.accounts.security.throttling import Throttle
from taskapi.accounts.sessions.service import SessionService
from taskapi.accounts.two_factor.service import TwoFactorService
from taskapi.accounts.users.admins import AdminService
from taskapi.accounts.users.profile import ProfileService
from taskapi.accounts.users.repository import UserRepository
from taskapi.accounts.users.schemas import Account
from taskapi.accounts.users.service import Reauthenticator, UserService
from taskapi.audit.dependencies import CallerAuditLog
from taskapi.core.errors import InsufficientScope, InvalidToken, NotAuthenticated, TooManyRequests
from taskapi.web.request_state import state_of
from taskapi.web.route_call import Pending
from taskapi.web.services import Services, provided, services_of

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller's account, the scopes of their token, and the id of its session; None for an API token.

    ``api_token`` is the hash of an API token. ``expiry`` is that of an access token, in seconds since 1970.
    """

    user: Account
    scopes: Scopes
    session: ObjectId | None
    api_token: bytes | None = None
    expiry: int | None = None


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A caller with a session, the scopes of their token, and the id of the session."""

    user: Account
    scopes: Scopes
    session: ObjectId


async def authenticate(request: Request, claims: Claims | None = None) -> Caller:
    """The caller behind a request's bearer token (RFC 6750), looked up once per request and never cached across requests.

    ``claims`` are those of the access token, if it has been verified already.

    Raises:
        NotAuthenticated: there is no token.
        InvalidToken: it is wrong, expired or revoked, its session has ended, or its account was disabled or deleted.
        TooManyRequests: the account has exceeded its request quota.
    """
    state = state_of(request)
    if isinstance(state.caller, Caller):
        return state.caller
    services = services_of(request)
    claims = claims or read_claims(request)
    caller = await (_by_session(claims, services) if claims else _by_api_token(_bearer_token(request), services))
    admit_caller(request.scope, caller)
    return caller


async def authenticate_again(request: Request, *scopes: str) -> Caller:
    """As ``authenticate``, looked up anew: the session may have ended since, and what it is about to leave behind outlives it.

    Raises InsufficientScope as well: the caller no longer has one of ``scopes``.
    """
    state_of(request).caller = None
    return _with_scopes(await authenticate(request), SecurityScopes(list(scopes)))


async def identify(token: str, services: Services) -> Caller:
    """The caller behind a token. Raises InvalidToken as ``authenticate``."""
    if token.startswith(PREFIX):
        return await _by_api_token(token, services)
    return await _by_session(services[TokenCodec].read(token), services)


def admit_caller(scope: Scope, caller: Caller) -> None:
    """Takes ``caller`` for the one of a request, and counts the request. Raises TooManyRequests as ``authenticate``."""
    state = state_of(scope)
    if state.account is None and (limit := services_of(scope).get(RequestLimit)):  # a request counts once
        taken = limit.take(caller.user.id)
        state.quota_headers = taken.headers
        if taken.retry_after:
            raise TooManyRequests(taken.retry_after)
    state.caller, state.account, state.authenticated_at = caller, caller.user.id, time.monotonic()


def _bearer_token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.lstrip(" ")  # RFC 9110, section 11.4 allows any number of spaces
    if scheme.lower() != "bearer" or not token:
        raise NotAuthenticated
    return token


def read_claims(request: Request) -> Claims | None:
    """The claims of a request's access token; None if it has an API token. Raises NotAuthenticated, InvalidToken."""
    token = _bearer_token(request)
    return None if token.startswith(PREFIX) else services_of(request)[TokenCodec].read(token)


async def _by_session(claims: Claims, services: Services) -> Caller:
    user = await services[AccountLoader].get(claims.user)
    if user is None or claims.session not in user.sessions:
        raise InvalidToken
    services[SessionsLastUsed].touch(claims.session)
    return Caller(user, claims.scopes & OF_ROLE[user.role], claims.session, expiry=claims.expiry)


async def _by_api_token(token: str, services: Services) -> Caller:
    hashed = hash_of(token)
    owner = await services[TokenOwnerLoader].get(hashed) if hashed else None
    if hashed is None or owner is None:
        raise InvalidToken
    services[ApiTokensLastUsed].touch(hashed)
    return Caller(owner.user, owner.scopes, None, hashed)


def _with_scopes(caller: Caller, needed: SecurityScopes) -> Caller:
    for scope in needed.scopes:
        if scope not in caller.scopes:
            raise InsufficientScope(scope)
    return caller


class _Bearer(OAuth2PasswordBearer):
    """Requires a token with the scopes of the route, and documents the security scheme.

    It needs only the headers, so ``StrictRoute`` calls it before it reads the body.
    """

    def __init__(self) -> None:
        super().__init__(
            "token",
            refreshUrl="token",
            scheme_name="password",
            scopes=MEANING,
            description="Sign in with your user name and password. If you select no scope, the token gets all that you can have. "
            "With a second factor, use an API token instead. Access tokens are JWTs according to RFC8725; to clients they are "
            "opaque.",
        )

    async def _admit(self, request: Request, needed: SecurityScopes) -> Caller:
        return _with_scopes(await authenticate(request), needed)


class BearerAccount(_Bearer):
    """Accepts any token."""

    async def __call__(self, request: Request, needed: SecurityScopes) -> Account:  # type: ignore[override]
        """The caller's account.

        Raises:
            NotAuthenticated, InvalidToken: as ``authenticate`` says.
            InsufficientScope: the token lacks a scope that the route needs.
        """
        return (await self._admit(request, needed)).user


class BearerSession(_Bearer):
    """Accepts access tokens only, not API tokens."""

    async def __call__(self, request: Request, needed: SecurityScopes) -> SignedIn:  # type: ignore[override]
        """The caller and their session.

        Raises:
            NotAuthenticated, InvalidToken, InsufficientScope: as ``BearerAccount`` says.
            SessionRequired: the token is an API token.
        """
        caller = await self._admit(request, needed)
        if caller.session is None:
            raise SessionRequired
        return SignedIn(caller.user, caller.scopes, caller.session)


class PendingCaller(Pending):
    """A caller whose access token is genuine. Whether its session and account are still there is not known yet."""

    def __init__(self, request: Request, needed: SecurityScopes, claims: Claims | None) -> None:
        self._request, self._needed = request, needed
        self._claims = claims  # None if only a look-up can tell whose token it is

    async def settle(self) -> Account:
        """The caller's account. Raises as ``BearerAccount``."""
        return _with_scopes(await authenticate(self._request, self._claims), self._needed).user

    async def beside(self, look_up: Callable[[ObjectId], Awaitable[Found]]) -> tuple[Account, Found]:
        """The caller's account, and the result of ``look_up`` for its id. The two are looked up at the same time.

        Raises:
            NotAuthenticated, InvalidToken, InsufficientScope, TooManyRequests: as ``settle``; the result is dropped.
            Exception: whatever ``look_up`` raises.
        """
        if self._claims is None:
            user = await self.settle()
            return user, await look_up(user.object_id)
        found = asyncio.ensure_future(look_up(self._claims.user))
        try:
            user = await self.settle()
        except BaseException:
            found.cancel()  # if it has failed already, this takes note of it
            raise
        return user, await found


class BearerPending(_Bearer):
    """Accepts any token, for a route that looks up something else beside the account."""

    async def __call__(self, request: Request, needed: SecurityScopes) -> PendingCaller:  # type: ignore[override]
        """The caller, as far as the token itself tells.

        Raises:
            NotAuthenticated, InvalidToken: as ``authenticate`` says, apart from the session and the account.
        """
        return PendingCaller(request, needed, read_claims(request))


current_user = BearerAccount()
pending_caller = BearerPending()
current_session = BearerSession()

TaskReader = Annotated[Account, Security(current_user, scopes=["tasks:read"])]
PendingTaskReader = Annotated[PendingCaller, Security(pending_caller, scopes=["tasks:read"])]
TaskWriter = Annotated[Account, Security(current_user, scopes=["tasks:write"])]
AccountHolder = Annotated[Account, Security(current_user, scopes=["account"])]
Admin = Annotated[Account, Security(current_user, scopes=["admin"])]


async def account_principal(_: AccountHolder, request: Request) -> Caller:
    """The caller, whose token has the scope ``account``."""
    return await authenticate(request)


async def reauthenticator(request: Request, audit_log: CallerAuditLog) -> Reauthenticator:
    """Confirms the caller's current password, within their session."""
    caller, services = await authenticate(request), services_of(request)
    return Reauthenticator(services[UserRepository], services[PasswordHasher], services[Throttle], caller.session, audit_log)


AccountPrincipal = Annotated[Caller, Depends(account_principal)]
Session = Annotated[SignedIn, Security(current_session)]
AccountSession = Annotated[SignedIn, Security(current_session, scopes=["account"])]
Throttling = Annotated[Throttle, Depends(provided(Throttle))]
TwoFactor = Annotated[TwoFactorService, Depends(provided(TwoFactorService))]
ApiTokens = Annotated[ApiTokenService, Depends(provided(ApiTokenService))]
Sessions = Annotated[SessionService, Depends(provided(SessionService))]
SignInService = Annotated[SignIn, Depends(provided(SignIn))]
Users = Annotated[UserService, Depends(provided(UserService))]
Profiles = Annotated[ProfileService, Depends(provided(ProfileService))]
Admins = Annotated[AdminService, Depends(provided(AdminService))]
CurrentPassword = Annotated[Reauthenticator, Depends(reauthenticator)]
