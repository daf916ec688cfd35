"""Routes of accounts."""

from fastapi import Request, Response

from taskapi.auth.dependencies import CurrentUser, Hasher
from taskapi.problems import responses
from taskapi.routing import router as strict_router
from taskapi.users import service
from taskapi.users.schemas import UserCreate, UserRead, UserUpdate

router = strict_router(tags=["users"])


@router.post("/register", status_code=201, responses=responses(400, 413, 415, 422))
async def register(data: UserCreate, hasher: Hasher, request: Request, response: Response) -> UserRead:
    """Make an account. User names and e-mail addresses are unique without regard to case."""
    response.headers["Location"] = f"{request.scope.get('root_path', '')}/users/me"
    return await service.register(data, hasher)


@router.get("/users/me", responses=responses(401))
async def read_me(user: CurrentUser) -> UserRead:
    """Your own account."""
    return user


@router.patch("/users/me", responses=responses(400, 401, 413, 415, 422))
async def update_me(data: UserUpdate, user: CurrentUser, hasher: Hasher) -> UserRead:
    """Change your account: only the fields you send. A new password needs the current one."""
    return await service.change(user, data, hasher)
