"""Routes to sign in, sign out and revoke tokens."""

from typing import Annotated

from fastapi import Form, Response

from taskapi.accounts.auth.schemas import Revocation, Token, TokenRequest
from taskapi.accounts.dependencies import AccountSession, Session, Sessions, SignInService
from taskapi.accounts.errors import (
    BadCredentials,
    BadSecondFactor,
    InactiveUser,
    InvalidGrant,
    InvalidScope,
    Overloaded,
    SecondFactorRequired,
    SessionRequired,
    TooManyAttempts,
    UnreadableFactor,
)
from taskapi.audit.dependencies import CallerAuditLog
from taskapi.web.problems import responses
from taskapi.web.routing import strict_router

router = strict_router(tags=["auth"])

WRONG = (BadCredentials, SecondFactorRequired, BadSecondFactor)


@router.post(
    "/token",
    summary="Sign in or refresh",
    response_description="An access token and a refresh token.",
    responses=responses(
        InvalidGrant, InvalidScope, InactiveUser, *WRONG, 413, 415, 422, TooManyAttempts, Overloaded, UnreadableFactor
    ),
)
async def sign_in(form: Annotated[TokenRequest, Form()], service: SignInService, audit_log: CallerAuditLog) -> Token:
    """Sign in with a user name and password, or with a refresh token. Send the access token as `Authorization: Bearer …`."""
    return await service.grant(form, audit_log)


@router.post(
    "/revoke",
    summary="Revoke a token",
    response_class=Response,
    response_description="The token is revoked, or was not valid.",
    responses=responses(413, 415, 422),
)
async def revoke_token(form: Annotated[Revocation, Form()], service: SignInService, audit_log: CallerAuditLog) -> None:
    """Revoke a token (RFC 7009): an API token, or the session of an access or refresh token. Other tokens are ignored."""
    await service.revoke(form.token, audit_log)


@router.post("/logout", status_code=204, summary="Sign out", responses=responses(401, SessionRequired))
async def sign_out(caller: Session, sessions: Sessions, audit_log: CallerAuditLog) -> None:
    """End this session: its access and refresh tokens stop working at once."""
    await sessions.end(caller.user.object_id, caller.session, audit_log)


@router.post("/logout/all", status_code=204, summary="Sign out everywhere", responses=responses(401, 403, SessionRequired))
async def sign_out_everywhere(caller: AccountSession, sessions: Sessions, audit_log: CallerAuditLog) -> None:
    """End all your sessions, including this one."""
    await sessions.end_all(caller.user.object_id, audit_log)
