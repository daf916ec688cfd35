"""The dependencies of routes that reset passwords and verify e-mail addresses."""

from typing import Annotated

from fastapi import Depends

from taskapi.accounts.recovery.service import AccountRecovery, TakeoverErasers
from taskapi.web.services import provided

Recovery = Annotated[AccountRecovery, Depends(provided(AccountRecovery))]
Takeover = Annotated[TakeoverErasers, Depends(provided(TakeoverErasers))]
