"""Routes of one's own API tokens."""

from taskapi.auth.dependencies import AccountHolder, HoldersSession
from taskapi.events.dependencies import CallerTrail
from taskapi.fields import object_id
from taskapi.problems import responses
from taskapi.routing import router as strict_router
from taskapi.tokens import service
from taskapi.tokens.schemas import ApiTokenCreate, ApiTokenMade, ApiTokenRead

router = strict_router(prefix="/users/me/tokens", tags=["users"])


@router.post("", status_code=201, responses=responses(400, 401, 403, 409, 413, 415, 422))
async def create_token(data: ApiTokenCreate, caller: HoldersSession, trail: CallerTrail) -> ApiTokenMade:
    """Make a token for a script. The token is shown this once; it can do no more than you in this session."""
    return await service.make(caller.user, caller.session, caller.scopes, data, trail)


@router.get("", responses=responses(401, 403))
async def list_tokens(user: AccountHolder) -> list[ApiTokenRead]:
    """Your API tokens, the newest first; those that have expired stay until you delete them."""
    return await service.all_of(user)


@router.post("/{token_id}/rotate", responses=responses(400, 401, 403, 404))
async def rotate_token(token_id: str, caller: HoldersSession, trail: CallerTrail) -> ApiTokenMade:
    """Give a token a new secret, good for as many days as the first; the old one is worth nothing from now on."""
    return await service.rotate(caller.user, caller.session, caller.scopes, object_id(token_id), trail)


@router.delete("/{token_id}", status_code=204, responses=responses(401, 403, 404))
async def delete_token(token_id: str, user: AccountHolder, trail: CallerTrail) -> None:
    """Revoke a token: it is worth nothing from now on."""
    await service.revoke(user, object_id(token_id), trail)
