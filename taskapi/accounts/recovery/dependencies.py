"""What routes ask for to read the tokens of mails."""

from typing import Annotated

from fastapi import Depends, Request

from taskapi.accounts.recovery.tokens import OneTimeTokens


async def one_time_tokens(request: Request) -> OneTimeTokens:
    """The tokens of the application that answers."""
    tokens: OneTimeTokens = request.app.state.one_time_tokens
    return tokens


MailedTokens = Annotated[OneTimeTokens, Depends(one_time_tokens)]
