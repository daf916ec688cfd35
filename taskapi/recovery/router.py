"""The routes of forgotten passwords and of addresses to verify."""

from fastapi import Response

from taskapi.auth.dependencies import AccountHolder, Tools
from taskapi.events.dependencies import CallerTrail
from taskapi.mail.dependencies import Mail
from taskapi.problems import responses
from taskapi.recovery import service
from taskapi.recovery.dependencies import MailedTokens
from taskapi.recovery.schemas import EmailVerification, ForgottenPassword, PasswordReset
from taskapi.routing import router as strict_router

router = strict_router()


@router.post(
    "/password/forgot", status_code=202, response_class=Response, responses=responses(400, 413, 415, 422, 429), tags=["auth"]
)
async def forgot_password(data: ForgottenPassword, tools: Tools, mail: Mail, trail: CallerTrail) -> None:
    """Have a mail sent that lets you choose a new password. The answer is the same whether an account has the address."""
    await service.forgot(data.email, tools.throttle, mail, trail)


@router.post("/password/reset", status_code=204, responses=responses(400, 413, 415, 422), tags=["auth"])
async def reset_password(data: PasswordReset, tokens: MailedTokens, tools: Tools, mail: Mail, trail: CallerTrail) -> None:
    """Choose a new password with the token of a mail. It ends all your sessions: sign in again."""
    await service.reset(data.token, data.password, tokens, tools.hasher, tools.throttle, mail, trail)


@router.post("/email/verify", status_code=204, responses=responses(400, 413, 415, 422), tags=["users"])
async def verify_email(data: EmailVerification, tokens: MailedTokens, trail: CallerTrail) -> None:
    """Prove with the token of a mail that an address is yours; an address that waited for it takes the place of the old one."""
    await service.verify(data.token, tokens, trail)


@router.post(
    "/users/me/email/verification", status_code=202, response_class=Response, responses=responses(401, 403, 409), tags=["users"]
)
async def send_verification(user: AccountHolder, tools: Tools, mail: Mail, trail: CallerTrail) -> None:
    """Have the mail sent again that verifies your address, or the address that is to take its place."""
    await service.verify_again(user, tools.throttle, mail, trail)
