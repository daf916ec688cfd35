"""What routes ask for to record security events and to read them."""

from typing import Annotated

from fastapi import Depends, Request

from taskapi.audit.recorder import AuditLog
from taskapi.audit.repository import SecurityEventRepository
from taskapi.web.services import provided, services_of


async def audit_log(request: Request) -> AuditLog:
    """The audit log for what this request does."""
    ip = request.client.host if request.client else ""
    return AuditLog(services_of(request)[SecurityEventRepository], ip, request.headers.get("user-agent", ""))


CallerAuditLog = Annotated[AuditLog, Depends(audit_log)]
SecurityEvents = Annotated[SecurityEventRepository, Depends(provided(SecurityEventRepository))]
