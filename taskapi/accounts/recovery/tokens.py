"""Single-use tokens that are sent by mail.

A token counts only together with the write that uses it: that write asks for the password hash and the address that the
token was made for, and changes one of them. So of two uses one wins, and a crash in between leaves no token alive.
"""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from bson import ObjectId

from taskapi.accounts.errors import InvalidOneTimeToken
from taskapi.accounts.recovery.documents import OneTimeTokenDocument
from taskapi.accounts.users import addresses
from taskapi.accounts.users.email_repository import AccountWithPassword
from taskapi.core.clock import utc_now
from taskapi.core.keys import Signer
from taskapi.db.batches import delete_all
from taskapi.db.connection import collection

Purpose = Literal["password_reset", "verify_email"]

LIFETIME = timedelta(hours=1)
SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class OneTimeTokens:
    """Makes tokens and finds whose they are."""

    signer: Signer

    async def make(self, purpose: Purpose, holder: AccountWithPassword, address: str) -> str:
        """A token that proves that the account reads ``address``. The one before for that purpose is dead."""
        token = secrets.token_urlsafe(SECRET_BYTES)
        values = {
            "token_hash": self._hashes(purpose, token)[0],
            "address": address,
            "mark": self.signer.sign(b"password", holder.password_hash.encode()),
            "expires_at": utc_now() + LIFETIME,
        }
        await collection(OneTimeTokenDocument).update_one(
            {"user": holder.user.object_id, "purpose": purpose}, {"$set": values}, upsert=True
        )
        return token

    async def find(self, purpose: Purpose, token: str) -> tuple[AccountWithPassword, str]:
        """Whose token it is, and the address that it proves.

        Raises:
            InvalidOneTimeToken: it is wrong or expired, the password changed since, or the account is disabled.
        """
        hashes = self._hashes(purpose, token)
        found = await collection(OneTimeTokenDocument).find_one(
            {"token_hash": {"$in": hashes}, "purpose": purpose, "expires_at": {"$gt": utc_now()}}
        )
        holder = await addresses.holder(found["user"]) if found else None
        if found is None or holder is None:
            raise InvalidOneTimeToken
        if not self.signer.verify(found["mark"], b"password", holder.password_hash.encode()):
            raise InvalidOneTimeToken
        return holder, found["address"]

    async def delete(self, purpose: Purpose, token: str) -> None:
        """Removes a token that was used."""
        await collection(OneTimeTokenDocument).delete_one({"token_hash": {"$in": self._hashes(purpose, token)}})

    def _hashes(self, purpose: Purpose, token: str) -> list[bytes]:
        return list(self.signer.signatures(purpose.encode(), token.encode()))


async def delete_for_user(user: ObjectId) -> None:
    """Deletes the tokens of ``user``."""
    await delete_all(collection(OneTimeTokenDocument), {"user": user})
