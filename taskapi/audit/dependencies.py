"""The audit log, as routes ask for it."""

from datetime import timedelta
from typing import Annotated

from fastapi import Depends, Request

from taskapi.audit.recorder import AuditLog
from taskapi.core.settings import Settings
from taskapi.web.services import services_of


async def audit_log(request: Request) -> AuditLog:
    """The audit log for what this request does."""
    address = request.client.host if request.client else ""
    return AuditLog(address, request.headers.get("user-agent", ""), timedelta(days=services_of(request)[Settings].event_days))


CallerAuditLog = Annotated[AuditLog, Depends(audit_log)]
