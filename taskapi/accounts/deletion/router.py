"""Routes to delete and to export one's own account."""

from typing import Annotated

from fastapi import Depends, Request, Response, Security

from taskapi.accounts.callers import Caller
from taskapi.accounts.deletion import export
from taskapi.accounts.deletion.export import AccountExporters
from taskapi.accounts.deletion.schemas import Departure, LeavingRead
from taskapi.accounts.deletion.service import DeletionService
from taskapi.accounts.dependencies import AccountSession, CurrentPassword, account_principal
from taskapi.accounts.errors import ExportUnderWay, LastAdmin, Overloaded, SessionRequired, TooManyAttempts, WrongPassword
from taskapi.audit.dependencies import CallerAuditLog
from taskapi.web import admission
from taskapi.web.methods import is_head
from taskapi.web.problems import responses
from taskapi.web.routing import ATTACHMENT, strict_router
from taskapi.web.services import provided, services_of
from taskapi.web.streaming import Streamed

router = strict_router(prefix="/users/me", tags=["users"])

ZIP = "application/zip"
ARCHIVE = {ZIP: {"schema": {"type": "string", "format": "binary"}}}
Deletions = Annotated[DeletionService, Depends(provided(DeletionService))]
# It contains tasks: the scope account alone is not enough.
ExportCall = Annotated[Caller, Security(account_principal, scopes=["tasks:read"])]


@router.delete(
    "",
    status_code=202,
    summary="Delete your account",
    response_description="When the account will be erased.",
    responses=responses(400, WrongPassword, 401, 403, SessionRequired, LastAdmin, 413, 415, 422, TooManyAttempts, Overloaded),
)
async def delete_me(
    data: Departure,
    caller: AccountSession,
    reauthenticator: CurrentPassword,
    deletions: Deletions,
    audit_log: CallerAuditLog,
) -> LeavingRead:
    """Delete your account: your sessions end and your tokens are refused at once, and all your data is erased at `due_at`.

    That is 14 days later, unless the server is configured otherwise. Until then, signing in cancels the deletion.
    """
    return await deletions.request(caller.user, data.password, reauthenticator, audit_log)


@router.get(
    "/export",
    summary="Export your account",
    response_class=Response,
    response_description="A ZIP of JSON Lines.",
    responses={200: {"content": ARCHIVE, "headers": ATTACHMENT}, **responses(401, 403, ExportUnderWay, *admission.PROBLEMS)},
)
@admission.limited(export.ACCOUNT_EXPORTS)
async def export_me(caller: ExportCall, audit_log: CallerAuditLog, request: Request) -> Response:
    """Everything stored about you, as a ZIP of JSON Lines. An archive that cannot be opened was cut off."""
    headers = {
        "Content-Type": ZIP,
        "Content-Disposition": f'attachment; filename="taskapi-{caller.user.username}.zip"',
    }
    files = services_of(request)[AccountExporters]
    return await Streamed.begun(export.parts(caller.user, files, None if is_head(request) else audit_log), headers)
