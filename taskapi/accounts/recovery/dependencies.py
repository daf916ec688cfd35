"""What routes ask for to read the tokens of mails."""

from typing import Annotated

from fastapi import Depends

from taskapi.accounts.recovery.tokens import OneTimeTokens
from taskapi.web.services import provided

MailedTokens = Annotated[OneTimeTokens, Depends(provided(OneTimeTokens))]
