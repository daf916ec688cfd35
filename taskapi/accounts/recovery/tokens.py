"""Single-use tokens that are sent by mail.

A token is valid only together with the write that uses it: that write requires the password hash and the address that the
token was created for, and changes one of them. So one of two uses wins, and a crash in between leaves no valid token.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from bson import ObjectId

from taskapi.accounts.errors import InvalidOneTimeToken
from taskapi.accounts.recovery.documents import Purpose
from taskapi.accounts.recovery.repository import OneTimeTokenRepository
from taskapi.accounts.users.email_repository import AccountWithPassword, EmailRepository
from taskapi.core.clock import utc_now
from taskapi.core.keys import Signer

LIFETIME = timedelta(hours=1)
SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class OneTimeTokens:
    """Creates tokens, and finds the account of one."""

    tokens: OneTimeTokenRepository
    accounts: EmailRepository
    signer: Signer

    async def create(self, purpose: Purpose, account: AccountWithPassword, email: str) -> str:
        """A token that proves that the owner of the account reads ``email``. The previous one for that purpose stops working."""
        token = secrets.token_urlsafe(SECRET_BYTES)
        values = {
            "token_hash": self._hashes(purpose, token)[0],
            "address": email,
            "mark": self.signer.sign(b"password", account.password_hash.encode()),
            "expires_at": utc_now() + LIFETIME,
        }
        await self.tokens.replace(account.user.object_id, purpose, values)
        return token

    async def find(self, purpose: Purpose, token: str) -> tuple[AccountWithPassword, str]:
        """The account that a token belongs to, and the address that it proves.

        Raises:
            InvalidOneTimeToken: it is wrong or expired, the password changed since, or the account is disabled.
        """
        found = await self.tokens.find(purpose, self._hashes(purpose, token))
        account = await self.accounts.find_account(found["user"]) if found else None
        if found is None or account is None:
            raise InvalidOneTimeToken
        if not self.signer.verify(found["mark"], b"password", account.password_hash.encode()):
            raise InvalidOneTimeToken
        return account, found["address"]

    async def rebind(self, user: ObjectId, password_hash: str, renewed: str) -> None:
        """Keeps the tokens of ``user`` when ``renewed``, a new hash of the same password, has replaced ``password_hash``."""
        marks = self.signer.signatures(b"password", password_hash.encode())
        await self.tokens.replace_mark(user, marks, self.signer.sign(b"password", renewed.encode()))

    async def remove(self, purpose: Purpose, token: str) -> None:
        """Removes a token that was used."""
        await self.tokens.remove(self._hashes(purpose, token))

    def _hashes(self, purpose: Purpose, token: str) -> Sequence[bytes]:
        return self.signer.signatures(purpose.encode(), token.encode())
