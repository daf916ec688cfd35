"""Who calls: the account behind the token of a request or a WebSocket."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from bson import ObjectId
from fastapi import Request
from starlette.types import Scope

from taskapi.accounts.api_tokens.text import PREFIX, hash_of
from taskapi.accounts.auth.loaders import AccountLoader, ApiTokensLastUsed, SessionsLastUsed, TokenOwnerLoader
from taskapi.accounts.security.access_tokens import Claims, TokenCodec
from taskapi.accounts.security.request_quota import RequestLimit
from taskapi.accounts.security.scopes import OF_ROLE, Scopes
from taskapi.accounts.users.schemas import Account
from taskapi.core.errors import InsufficientScope, InvalidToken, NotAuthenticated, TooManyRequests
from taskapi.web.request_state import state_of
from taskapi.web.services import Services, services_of


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
    return with_scopes(await authenticate(request), scopes)


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


def with_scopes(caller: Caller, scopes: Iterable[str]) -> Caller:
    """``caller``, whose token has all of ``scopes``. Raises InsufficientScope."""
    for scope in scopes:
        if scope not in caller.scopes:
            raise InsufficientScope(scope)
    return caller
