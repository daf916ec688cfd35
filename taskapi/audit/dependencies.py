"""What routes ask for to leave a trail of security events."""

from datetime import timedelta
from typing import Annotated

from fastapi import Depends, Request

from taskapi.audit.recorder import AuditLog


async def audit_log(request: Request) -> AuditLog:
    """Where this request comes from."""
    address = request.client.host if request.client else ""
    return AuditLog(address, request.headers.get("user-agent", ""), timedelta(days=request.app.state.settings.event_days))


CallerAuditLog = Annotated[AuditLog, Depends(audit_log)]
