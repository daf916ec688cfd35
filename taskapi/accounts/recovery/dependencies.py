"""What routes ask for to reset passwords and to verify addresses."""

from typing import Annotated

from fastapi import Depends

from taskapi.accounts.recovery.service import AccountRecovery
from taskapi.web.services import provided

Recovery = Annotated[AccountRecovery, Depends(provided(AccountRecovery))]
