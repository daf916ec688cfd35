"""The dependencies of routes: the authenticated caller, and the services of accounts."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from bson import ObjectId
from fastapi import Depends, Request, Security
from fastapi.security import OAuth2PasswordBearer, SecurityScopes

from taskapi.accounts.api_tokens.service import ApiTokenService
from taskapi.accounts.auth.service import SignIn
from taskapi.accounts.callers import Caller, authenticate, read_claims, with_scopes
from taskapi.accounts.errors import SessionRequired
from taskapi.accounts.security.access_tokens import Claims, PasswordHasher
from taskapi.accounts.security.scopes import MEANING, Scopes
from taskapi.accounts.security.throttling import Throttle
from taskapi.accounts.sessions.service import SessionService
from taskapi.accounts.two_factor.service import TwoFactorService
from taskapi.accounts.users.admins import AdminService
from taskapi.accounts.users.profile import ProfileService
from taskapi.accounts.users.repository import UserRepository
from taskapi.accounts.users.schemas import Account
from taskapi.accounts.users.service import Reauthenticator, UserService
from taskapi.audit.dependencies import CallerAuditLog
from taskapi.web.route_call import Pending
from taskapi.web.services import provided, services_of

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A caller with a session, the scopes of their token, and the id of the session."""

    user: Account
    scopes: Scopes
    session: ObjectId


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
        return with_scopes(await authenticate(request), needed.scopes)


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
        return with_scopes(await authenticate(self._request, self._claims), self._needed.scopes).user

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
