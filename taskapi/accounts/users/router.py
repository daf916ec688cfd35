"""Routes of accounts."""

from fastapi import Request, Response

from taskapi.accounts.dependencies import AccountHolder, AccountPrincipal, CurrentPassword, Profiles, Throttling, Users
from taskapi.accounts.errors import EmailTaken, Overloaded, TooManyAttempts, UsernameTaken, WrongPassword
from taskapi.accounts.users.renaming import RenamingJob
from taskapi.accounts.users.schemas import UserCreate, UserRead, UserUpdate
from taskapi.audit.dependencies import CallerAuditLog
from taskapi.web.problems import responses
from taskapi.web.routing import LOCATION, path_to, strict_router
from taskapi.web.services import services_of

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
    data: UserCreate,
    users: Users,
    throttle: Throttling,
    audit_log: CallerAuditLog,
    request: Request,
    response: Response,
) -> UserRead:
    """Create an account. User names and e-mail addresses are unique, ignoring case."""
    response.headers["Location"] = path_to(request, router, "read_me")
    await throttle.registration(audit_log.ip_address)
    return await users.register(data, audit_log)


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
    data: UserUpdate,
    caller: AccountPrincipal,
    reauthenticator: CurrentPassword,
    profiles: Profiles,
    audit_log: CallerAuditLog,
    request: Request,
) -> UserRead:
    """Change the fields that you send. A new password needs the current one, and ends your other sessions.

    A new user name is shown everywhere at once; filters on `owner.username` find it a few minutes later.
    """
    changed = await profiles.change(caller.user, data, reauthenticator, audit_log)
    if changed.username != caller.user.username:
        services_of(request)[RenamingJob].wake()
    return changed
