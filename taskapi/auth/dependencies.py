"""What routes ask for in their signatures: the caller, and the tools of signing in."""

from dataclasses import dataclass
from typing import Annotated

from bson import ObjectId
from fastapi import Depends, Request
from fastapi.security import OAuth2PasswordBearer

from taskapi.coalesce import Coalescer
from taskapi.errors import InvalidToken, NotAuthenticated
from taskapi.fields import object_id
from taskapi.security import PasswordHasher, TokenCodec
from taskapi.users.schemas import UserRead


@dataclass(frozen=True, slots=True)
class AuthTools:
    """What ``main`` makes for signing in and keeps in ``app.state.auth``."""

    hasher: PasswordHasher
    codec: TokenCodec
    accounts: Coalescer[ObjectId, UserRead]


def auth_tools(request: Request) -> AuthTools:
    """The tools of the application that answers."""
    tools: AuthTools = request.app.state.auth
    return tools


class BearerAccount(OAuth2PasswordBearer):
    """Finds the account behind a request's bearer token (RFC 6750), and documents the scheme."""

    async def __call__(self, request: Request) -> UserRead:  # type: ignore[override]
        """The account, looked up afresh for every request.

        Raises:
            NotAuthenticated: there is no token.
            InvalidToken: it is wrong or expired, or its account was disabled or deleted.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise NotAuthenticated
        tools = auth_tools(request)
        identity = object_id(tools.codec.subject(token))
        user = await tools.accounts.get(identity) if identity else None
        if user is None:
            raise InvalidToken
        return user


async def password_hasher(request: Request) -> PasswordHasher:
    """The application's password hasher."""
    return auth_tools(request).hasher


async def token_codec(request: Request) -> TokenCodec:
    """The application's token codec."""
    return auth_tools(request).codec


current_user = BearerAccount("token", scheme_name="password", description="Sign in with your user name and password.")

CurrentUser = Annotated[UserRead, Depends(current_user)]
Hasher = Annotated[PasswordHasher, Depends(password_hasher)]
Codec = Annotated[TokenCodec, Depends(token_codec)]
