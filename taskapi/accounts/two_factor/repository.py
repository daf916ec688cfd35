"""The stored second factors, inside the accounts. Each write applies only in the state that it requires."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from bson import ObjectId

from taskapi.accounts.users.documents import ACTIVE, MAY_SIGN_IN, UserDocument
from taskapi.db.connection import BSON, Database

ON = {"two_factor": True}
NOT_ON = {"two_factor": {"$ne": True}}


@dataclass(frozen=True, slots=True)
class SecondFactor:
    """The second factor of an account. What a script has damaged in it counts as missing."""

    is_on: bool
    secret: bytes = b""  # encrypted; empty without one
    expires_at: datetime | None = None  # in UTC, without a zone; until when it can be confirmed


class TwoFactorRepository:
    """The second factors of all accounts."""

    def __init__(self, database: Database) -> None:
        self._users = database.collection(UserDocument)

    async def find(self, user_id: ObjectId) -> SecondFactor:
        """The second factor of an account, which may be unconfirmed."""
        found = await self._users.find_one({"_id": user_id, **MAY_SIGN_IN}, {"two_factor": 1, "authenticator": 1}) or {}
        stored = found.get("authenticator")
        secret, expires_at = (stored.get("secret"), stored.get("expires_at")) if isinstance(stored, dict) else (None, None)
        return SecondFactor(
            is_on=found.get("two_factor") is True,
            secret=secret if isinstance(secret, bytes) else b"",
            expires_at=expires_at if isinstance(expires_at, datetime) else None,
        )

    async def stream_secrets(self, limit: int) -> AsyncIterator[bytes]:
        """The encrypted secrets of the second factors that are on, at most ``limit``."""
        having = {**ON, "authenticator.secret": {"$type": "binData"}}
        async for user in self._users.find(having, {"authenticator.secret": 1}, limit=limit):
            yield user["authenticator"]["secret"]

    async def enroll(self, user_id: ObjectId, confirmed: BSON, encrypted: bytes, expires_at: datetime) -> bool:
        """Stores an unconfirmed secret. False when a second factor is on, or what was ``confirmed`` holds no longer."""
        matching = {"_id": user_id, **ACTIVE, **NOT_ON, **confirmed}
        return await self._update(matching, {"$set": {"authenticator": {"secret": encrypted, "expires_at": expires_at}}})

    async def confirm(self, user_id: ObjectId, session_id: ObjectId, encrypted: bytes, step: int, recovery: list[bytes]) -> bool:
        """Turns the second factor on, and ends all other sessions in the same write, since they never gave a code.

        ``step`` is the time step of the code. False when it can no longer be confirmed, or the session has ended.
        """
        authenticator = {"secret": encrypted, "last_step": step, "recovery": recovery}
        matching = {"_id": user_id, **ACTIVE, **NOT_ON, "authenticator.secret": encrypted, "sessions": session_id}
        return await self._update(matching, {"$set": {**ON, "authenticator": authenticator, "sessions": [session_id]}})

    async def use_step(self, user_id: ObjectId, encrypted: bytes, step: int, renewed: bytes) -> bool:
        """Uses up the code of a time step; ``renewed`` replaces the encrypted secret. False when it, or a later one, was used."""
        unused = {"authenticator.secret": encrypted, "authenticator.last_step": {"$lt": step}}
        values = {"authenticator.last_step": step, "authenticator.secret": renewed}
        return await self._update({"_id": user_id, **MAY_SIGN_IN, **ON, **unused}, {"$set": values})

    async def use_recovery_code(self, user_id: ObjectId, hashes: list[bytes]) -> int | None:
        """Uses up the recovery code that has one of ``hashes``. Returns how many are left; None when there is no such code."""
        held = {"authenticator.recovery": {"$in": hashes}}
        before = await self._users.find_one_and_update(
            {"_id": user_id, **MAY_SIGN_IN, **ON, **held}, {"$pull": held}, {"authenticator.recovery": 1}
        )
        return len(before["authenticator"]["recovery"]) - 1 if before else None

    async def replace_recovery_codes(self, user_id: ObjectId, confirmed: BSON, recovery: list[bytes]) -> bool:
        """Replaces the recovery codes. False when there is no second factor, or what was ``confirmed`` holds no longer."""
        matching = {"_id": user_id, **ACTIVE, **ON, **confirmed}
        return await self._update(matching, {"$set": {"authenticator.recovery": recovery}})

    async def remove(self, user_id: ObjectId, confirmed: BSON | None = None) -> bool:
        """Removes the second factor. False when it was not on, or what was ``confirmed`` holds no longer."""
        matching = {"_id": user_id, **ON, **(confirmed or {})}
        return await self._update(matching, {"$unset": {"two_factor": "", "authenticator": ""}})

    async def _update(self, matching: BSON, change: BSON) -> bool:
        return (await self._users.update_one(matching, change)).matched_count == 1
