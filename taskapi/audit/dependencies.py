"""What routes ask for to leave a trail of security events."""

from datetime import timedelta
from typing import Annotated

from fastapi import Depends, Request

from taskapi.audit.recorder import Trail


async def trail(request: Request) -> Trail:
    """Where this request comes from."""
    address = request.client.host if request.client else ""
    return Trail(address, request.headers.get("user-agent", ""), timedelta(days=request.app.state.settings.event_days))


CallerTrail = Annotated[Trail, Depends(trail)]
