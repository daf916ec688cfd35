"""Routes of the caller's own sessions."""

from typing import Annotated

from taskapi.accounts.dependencies import AccountHolder, AccountPrincipal, Sessions
from taskapi.accounts.sessions.schemas import SessionRead
from taskapi.audit.dependencies import CallerAuditLog
from taskapi.core.fields import object_id
from taskapi.web.problems import responses
from taskapi.web.routing import path_id, strict_router

router = strict_router(prefix="/users/me/sessions", tags=["users"])

SessionId = Annotated[str, path_id("The id of the session.")]


@router.get("", summary="List your sessions", response_description="Your sessions.", responses=responses(401, 403))
async def list_sessions(caller: AccountPrincipal, sessions: Sessions) -> list[SessionRead]:
    """Your sessions, last seen first."""
    return await sessions.list_for_user(caller.user, caller.session)


@router.delete("/{session_id}", status_code=204, summary="End a session", responses=responses(401, 403, 404))
async def end_session(session_id: SessionId, user: AccountHolder, sessions: Sessions, audit_log: CallerAuditLog) -> None:
    """End one of your sessions: its access and refresh tokens stop working at once."""
    await sessions.end(user.object_id, object_id(session_id), audit_log)
