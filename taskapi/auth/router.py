"""The route that gives access tokens."""

from typing import Annotated

from fastapi import Form

from taskapi.auth import service
from taskapi.auth.dependencies import Codec, Hasher
from taskapi.auth.schemas import SignIn, Token
from taskapi.problems import responses
from taskapi.routing import router as strict_router

router = strict_router(tags=["auth"])


@router.post("/token", responses=responses(400, 401, 413, 415, 422))
async def sign_in(form: Annotated[SignIn, Form()], hasher: Hasher, codec: Codec) -> Token:
    """Sign in with a user name and password; send the access token as `Authorization: Bearer …`."""
    return await service.sign_in(form, hasher, codec)
