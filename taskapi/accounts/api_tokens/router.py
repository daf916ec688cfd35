"""Routes of one's own API tokens."""

from typing import Annotated

from taskapi.accounts.api_tokens.schemas import ApiTokenCreate, ApiTokenMade, ApiTokenRead
from taskapi.accounts.dependencies import AccountHolder, AccountSession, ApiTokens
from taskapi.accounts.errors import InvalidScope, SessionRequired, TokenNameTaken, TooManyTokens
from taskapi.audit.dependencies import CallerAuditLog
from taskapi.core.fields import object_id
from taskapi.web.problems import responses
from taskapi.web.routing import path_id, strict_router

router = strict_router(prefix="/users/me/tokens", tags=["users"])

TokenId = Annotated[str, path_id("The id of the token.")]


@router.post(
    "",
    status_code=201,
    summary="Create an API token",
    response_description="The token with its secret, which is shown only here.",
    responses=responses(400, TokenNameTaken, InvalidScope, 401, 403, SessionRequired, TooManyTokens, 413, 415, 422),
)
async def create_token(
    data: ApiTokenCreate, caller: AccountSession, tokens: ApiTokens, audit_log: CallerAuditLog
) -> ApiTokenMade:
    """Create a token for a script. It is shown only in this answer, and can do no more than your current session."""
    return await tokens.create(caller.user, caller.session, caller.scopes, data, audit_log)


@router.get("", summary="List your API tokens", response_description="Your tokens.", responses=responses(401, 403))
async def list_tokens(user: AccountHolder, tokens: ApiTokens) -> list[ApiTokenRead]:
    """Your API tokens, newest first. Expired tokens stay in the list until you delete them."""
    return await tokens.list_for_user(user)


@router.post(
    "/{token_id}/rotate",
    summary="Rotate an API token",
    response_description="The token with its new secret, which is shown only here.",
    responses=responses(InvalidScope, 401, 403, SessionRequired, 404),
)
async def rotate_token(token_id: TokenId, caller: AccountSession, tokens: ApiTokens, audit_log: CallerAuditLog) -> ApiTokenMade:
    """Replace the secret of a token; the new one is valid for as many days as the first. The old one stops working at once."""
    return await tokens.rotate(caller.user, caller.session, caller.scopes, object_id(token_id), audit_log)


@router.delete("/{token_id}", status_code=204, summary="Delete an API token", responses=responses(401, 403, 404))
async def delete_token(token_id: TokenId, user: AccountHolder, tokens: ApiTokens, audit_log: CallerAuditLog) -> None:
    """Delete a token: it stops working at once."""
    await tokens.revoke(user, object_id(token_id), audit_log)
