"""Account deletion: the account is unusable immediately, and is erased after a grace period.

``users.leaving`` marks the account. Signing in cancels the deletion, until a worker has leased it. A deletion that was
interrupted at any point is continued by the worker that leases it next; the account itself is deleted last.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Final, NamedTuple

from bson import ObjectId
from pymongo import ASCENDING

from taskapi.accounts.deletion.schemas import LeavingRead
from taskapi.accounts.errors import WrongPassword
from taskapi.accounts.sessions import service as sessions
from taskapi.accounts.users import service as users
from taskapi.accounts.users.admins import set_unless_last
from taskapi.accounts.users.documents import ACTIVE, NO_LIST, UserDocument
from taskapi.accounts.users.schemas import UserRead
from taskapi.accounts.users.service import Reauthenticator
from taskapi.audit.recorder import AuditLog
from taskapi.core.clock import utc_now
from taskapi.core.errors import InvalidToken
from taskapi.db.connection import BSON, collection

log = logging.getLogger(__name__)

LEASE: Final = timedelta(minutes=10)  # after which another worker goes on; two at once do no harm
DUE: Final = {"leaving.due_at": ASCENDING}

Eraser = Callable[[ObjectId], Awaitable[None]]  # deletes all that one domain keeps of an account; can be repeated


class Removal(NamedTuple):
    """The right to remove an account."""

    user: ObjectId
    mine: BSON  # the filter of the account, as long as this worker holds it


async def request(
    user: UserRead, password: str, grace: timedelta, reauthenticator: Reauthenticator, audit_log: AuditLog
) -> LeavingRead:
    """Ends every session of ``user``, and schedules the deletion of the account after ``grace``.

    Raises:
        WrongPassword: ``password`` is wrong, or was changed meanwhile.
        LastAdmin: the account is the only active administrator.
        InvalidToken: the account is disabled, or its deletion was requested already.
        Overloaded: too many passwords are being hashed.
    """
    password_hash = await reauthenticator.confirm_password(user, password)
    now = utc_now()
    leaving = {"requested_at": now, "due_at": now + grace}
    account: BSON = {"_id": user.object_id, **ACTIVE}
    if await set_unless_last({**account, "password_hash": password_hash}, {"leaving": leaving, "sessions": []}) is None:
        if await users.active([user.object_id]):
            raise WrongPassword
        raise InvalidToken
    await sessions.delete_for_user(user.object_id)
    await audit_log.record("account_deletion_requested", user.object_id)
    return LeavingRead.model_validate(leaving)


async def remove_due(erasers: Iterable[Eraser]) -> None:
    """Erases every account whose grace period is over: runs ``erasers`` in order, then deletes the account itself."""
    while removal := await _lease():
        for erase in erasers:
            await erase(removal.user)
        await collection(UserDocument).delete_one(removal.mine)
        log.info("an account was erased, as its owner requested")


async def _lease() -> Removal | None:
    now = utc_now()
    until = now + LEASE
    due: BSON = {"leaving.due_at": {"$lte": now}, "leaving.leased_until": {"$not": {"$gt": now}}, "leaving": NO_LIST}
    user = await collection(UserDocument).find_one_and_update(
        due, {"$set": {"leaving.leased_until": until}}, {"_id": 1}, sort=list(DUE.items())
    )
    return Removal(user["_id"], {"_id": user["_id"], "leaving.leased_until": until}) if user else None
