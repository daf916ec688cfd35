"""Account deletion: the account is unusable immediately, and is erased after a grace period.

``users.leaving`` marks the account. Signing in cancels the deletion, until a worker has leased it. A deletion that was
interrupted at any point is continued by the worker that leases it next; the account itself is deleted last.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

from bson import ObjectId

from taskapi.accounts.deletion.repository import DeletionRepository
from taskapi.accounts.deletion.schemas import LeavingRead
from taskapi.accounts.errors import WrongPassword
from taskapi.accounts.sessions.repository import SessionRepository
from taskapi.accounts.users.schemas import UserRead
from taskapi.accounts.users.service import Reauthenticator
from taskapi.audit.recorder import AuditLog
from taskapi.core.clock import utc_now

log = logging.getLogger(__name__)

Eraser = Callable[[ObjectId], Awaitable[None]]  # deletes all that one domain stores about an account; can be repeated


@dataclass(frozen=True, slots=True)
class DeletionService:
    """Accepts requests to delete an account. ``grace`` is the period in which the owner can cancel the deletion."""

    deletions: DeletionRepository
    sessions: SessionRepository
    grace: timedelta

    async def request(self, user: UserRead, password: str, reauthenticator: Reauthenticator, audit_log: AuditLog) -> LeavingRead:
        """Ends every session of ``user``, and schedules the deletion of the account after the grace period.

        Raises:
            WrongPassword: ``password`` is wrong, or was changed meanwhile.
            LastAdmin: the account is the only active administrator.
            InvalidToken: the session ended, the account was disabled, or its deletion is already requested.
            Overloaded: too many passwords are being hashed.
        """
        confirmed = await reauthenticator.confirm(user, password)
        now = utc_now()
        due_at = now + self.grace
        if not await self.deletions.schedule(user.object_id, confirmed, now, due_at):
            await reauthenticator.require_session(user)
            raise WrongPassword
        await self.sessions.delete_for_user(user.object_id)
        await audit_log.record("account_deletion_requested", user.object_id)
        return LeavingRead(requested_at=now, due_at=due_at)


async def remove_due(deletions: DeletionRepository, erasers: Iterable[Eraser]) -> None:
    """Erases every account whose grace period is over: runs ``erasers`` in order, then deletes the account itself."""
    while lease := await deletions.lease_due():
        for erase in erasers:
            await erase(lease.document_id)
        await deletions.remove(lease)
        log.info("an account was erased, as its owner requested")
