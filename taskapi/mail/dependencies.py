"""The dependency of routes that send mails."""

from typing import Annotated

from fastapi import Depends

from taskapi.mail.queue import Outbox
from taskapi.web.services import provided

Mail = Annotated[Outbox, Depends(provided(Outbox))]
