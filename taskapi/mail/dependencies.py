"""What routes ask for to have mails sent."""

from typing import Annotated

from fastapi import Depends, Request

from taskapi.mail.queue import Outbox


async def outbox(request: Request) -> Outbox:
    """The outbox of the application that answers."""
    box: Outbox = request.app.state.outbox
    return box


Mail = Annotated[Outbox, Depends(outbox)]
