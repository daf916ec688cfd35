"""Routes of one's own second factor."""

from taskapi.accounts.dependencies import AccountSession, CurrentPassword, TwoFactor
from taskapi.accounts.errors import (
    NoEnrolment,
    Overloaded,
    SessionRequired,
    TooManyAttempts,
    TwoFactorOff,
    TwoFactorOn,
    WrongCode,
    WrongPassword,
)
from taskapi.accounts.two_factor.schemas import Confirmation, Enrolment, Proof, RecoveryCodesMade
from taskapi.audit.dependencies import CallerAuditLog
from taskapi.web.problems import responses
from taskapi.web.routing import strict_router

router = strict_router(prefix="/users/me/two-factor", tags=["users"])

USUAL = (400, 401, 403, SessionRequired, 413, 415, 422)
WITH_PASSWORD = (*USUAL, WrongPassword, TooManyAttempts, Overloaded)


@router.post(
    "",
    status_code=201,
    summary="Set up a second factor",
    response_description="The secret for the authenticator.",
    responses=responses(*WITH_PASSWORD, TwoFactorOn),
)
async def begin_two_factor(
    data: Proof, caller: AccountSession, reauthenticator: CurrentPassword, two_factor: TwoFactor
) -> Enrolment:
    """Start setting up a second factor: add the secret to an authenticator app, then confirm it within ten minutes."""
    return await two_factor.start_enrollment(caller.user, data.password, reauthenticator)


@router.post(
    "/confirm",
    summary="Enable the second factor",
    response_description="Ten recovery codes, which are shown only here.",
    responses=responses(*USUAL, WrongCode, NoEnrolment, TooManyAttempts),
)
async def confirm_two_factor(
    data: Confirmation, caller: AccountSession, two_factor: TwoFactor, audit_log: CallerAuditLog
) -> RecoveryCodesMade:
    """Turn the second factor on with a code from the app. From now on, signing in needs a code in the field `otp`.

    Your other sessions end, because they never gave a code.
    """
    return await two_factor.confirm(caller.user, caller.session, data.code, audit_log)


@router.post(
    "/recovery-codes",
    status_code=201,
    summary="Renew the recovery codes",
    response_description="Ten recovery codes, which are shown only here.",
    responses=responses(*WITH_PASSWORD, TwoFactorOff),
)
async def renew_recovery_codes(
    data: Proof, caller: AccountSession, reauthenticator: CurrentPassword, two_factor: TwoFactor, audit_log: CallerAuditLog
) -> RecoveryCodesMade:
    """Create ten new recovery codes; the old ones stop working at once."""
    return await two_factor.renew_recovery_codes(caller.user, data.password, reauthenticator, audit_log)


@router.post("/disable", status_code=204, summary="Disable the second factor", responses=responses(*WITH_PASSWORD, TwoFactorOff))
async def disable_two_factor(
    data: Proof, caller: AccountSession, reauthenticator: CurrentPassword, two_factor: TwoFactor, audit_log: CallerAuditLog
) -> None:
    """Turn the second factor off: signing in needs only the password."""
    await two_factor.disable(caller.user, data.password, reauthenticator, audit_log)
