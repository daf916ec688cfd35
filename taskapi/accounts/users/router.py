"""Routes of accounts."""

from fastapi import Request, Response

from taskapi.accounts.auth.dependencies import AccountHolder, AccountPrincipal, Tools
from taskapi.accounts.errors import EmailTaken, Overloaded, TooManyAttempts, UsernameTaken, WrongPassword
from taskapi.accounts.users import service
from taskapi.accounts.users.schemas import UserCreate, UserRead, UserUpdate
from taskapi.audit.dependencies import CallerAuditLog
from taskapi.mail.dependencies import Mail
from taskapi.web.problems import responses
from taskapi.web.routing import LOCATION, path_to
from taskapi.web.routing import router as strict_router

router = strict_router()


@router.post(
    "/register",
    status_code=201,
    tags=["auth"],
    summary="Register",
    response_description="The new account.",
    responses={
        201: {"headers": LOCATION},
        **responses(400, UsernameTaken, EmailTaken, 413, 415, 422, TooManyAttempts, Overloaded),
    },
)
async def register(
    data: UserCreate, tools: Tools, mail: Mail, audit_log: CallerAuditLog, request: Request, response: Response
) -> UserRead:
    """Make an account. User names and e-mail addresses are unique without regard to case."""
    response.headers["Location"] = path_to(request, router, "read_me")
    await tools.throttle.registration(audit_log.address)
    return await service.register(data, tools.hasher, mail, audit_log)


@router.get(
    "/users/me",
    tags=["users"],
    summary="Read your account",
    response_description="Your account.",
    responses=responses(401, 403),
)
async def read_me(user: AccountHolder) -> UserRead:
    """Your own account."""
    return user


@router.patch(
    "/users/me",
    tags=["users"],
    summary="Change your account",
    response_description="The account after the change.",
    responses=responses(400, WrongPassword, UsernameTaken, EmailTaken, 401, 403, 413, 415, 422, TooManyAttempts, Overloaded),
)
async def update_me(
    data: UserUpdate, caller: AccountPrincipal, tools: Tools, mail: Mail, audit_log: CallerAuditLog, request: Request
) -> UserRead:
    """Change your account: only the fields you send. A new password needs the current one, and ends your other sessions.

    A new user name is shown at once wherever you see yourself; filters on `owner.username` find it minutes later.
    """
    changed = await service.change(caller.user, data, tools.prover(caller.session, audit_log), mail, audit_log)
    if changed.username != caller.user.username:
        request.app.state.renaming.wake()
    return changed
