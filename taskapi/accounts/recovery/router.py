"""Routes to reset a password and to verify an e-mail address."""

from typing import Annotated

from fastapi import Depends, Response

from taskapi.accounts.dependencies import AccountHolder
from taskapi.accounts.errors import EmailTaken, InvalidOneTimeToken, NothingToVerify, Overloaded, TooManyAttempts
from taskapi.accounts.recovery.schemas import EmailVerification, ForgottenPassword, PasswordReset
from taskapi.accounts.recovery.service import AccountRecovery, TakeoverErasers
from taskapi.audit.dependencies import CallerAuditLog
from taskapi.web.problems import responses
from taskapi.web.routing import strict_router
from taskapi.web.services import provided

router = strict_router()

Recovery = Annotated[AccountRecovery, Depends(provided(AccountRecovery))]
Takeover = Annotated[TakeoverErasers, Depends(provided(TakeoverErasers))]


@router.post(
    "/password/forgot",
    status_code=202,
    tags=["auth"],
    summary="Request a password reset",
    response_class=Response,
    response_description="A mail is on its way, if an account has the address.",
    responses=responses(400, 413, 415, 422, TooManyAttempts),
)
async def forgot_password(data: ForgottenPassword, recovery: Recovery, audit_log: CallerAuditLog) -> None:
    """Send a mail that lets you choose a new password. The answer does not reveal whether an account has the address."""
    await recovery.request_reset(data.email, audit_log)


@router.post(
    "/password/reset",
    status_code=204,
    tags=["auth"],
    summary="Reset your password",
    responses=responses(400, InvalidOneTimeToken, 413, 415, 422, Overloaded),
)
async def reset_password(data: PasswordReset, recovery: Recovery, takeover: Takeover, audit_log: CallerAuditLog) -> None:
    """Set a new password, with the token from a mail. All your sessions end: sign in again."""
    await recovery.reset_password(data.token, data.password, audit_log, takeover)


@router.post(
    "/email/verify",
    status_code=204,
    tags=["users"],
    summary="Verify an e-mail address",
    responses=responses(400, InvalidOneTimeToken, EmailTaken, 413, 415, 422),
)
async def verify_email(data: EmailVerification, recovery: Recovery, audit_log: CallerAuditLog) -> None:
    """Verify your e-mail address, with the token from a mail. A pending address then replaces the old one."""
    await recovery.verify(data.token, audit_log)


@router.post(
    "/users/me/email/verification",
    status_code=202,
    tags=["users"],
    summary="Resend the verification e-mail",
    response_class=Response,
    response_description="The mail is on its way.",
    responses=responses(401, 403, NothingToVerify, TooManyAttempts),
)
async def send_verification(user: AccountHolder, recovery: Recovery, audit_log: CallerAuditLog) -> None:
    """Send the verification mail again, to your address or to the pending one."""
    await recovery.resend_verification(user, audit_log)
