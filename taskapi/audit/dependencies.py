"""The dependencies of routes that record or read security events."""

from typing import Annotated

from fastapi import Depends, Request

from taskapi.audit.recorder import AuditLog
from taskapi.audit.repository import SecurityEventRepository
from taskapi.audit.service import SecurityEventService
from taskapi.web.services import provided, services_of


async def audit_log(request: Request) -> AuditLog:
    """The audit log of this request."""
    ip = request.client.host if request.client else ""
    return AuditLog(services_of(request)[SecurityEventRepository], ip, request.headers.get("user-agent", ""))


CallerAuditLog = Annotated[AuditLog, Depends(audit_log)]
SecurityEvents = Annotated[SecurityEventService, Depends(provided(SecurityEventService))]
