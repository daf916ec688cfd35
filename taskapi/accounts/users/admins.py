"""What admins and operators see of accounts, and change in them."""

from dataclasses import dataclass

from bson import ObjectId

from taskapi.accounts.security import password_policy
from taskapi.accounts.security.access_tokens import PasswordHasher
from taskapi.accounts.security.throttling import Throttle
from taskapi.accounts.users.admin_repository import AdminRepository
from taskapi.accounts.users.admin_schemas import AccountChange, NewPassword, UserForAdmin, UserQuery
from taskapi.audit.recorder import AuditLog
from taskapi.mail.queue import Outbox
from taskapi.web.pagination import Page


@dataclass(frozen=True, slots=True)
class AdminService:
    """Shows and changes the accounts of other users."""

    accounts: AdminRepository
    hasher: PasswordHasher
    throttle: Throttle
    mail: Outbox
    milliseconds: int  # the time limit of a query

    async def list_page(self, query: UserQuery) -> Page[UserForAdmin]:
        """The accounts that ``query`` asks for, in the order of their names."""
        return await self.accounts.list_page(query, self.milliseconds)

    async def find(self, user_id: ObjectId | None) -> UserForAdmin:
        """One account. Raises NotFound."""
        return await self.accounts.find(user_id)

    async def change(
        self, user_id: ObjectId | None, data: AccountChange, audit_log: AuditLog, *, by: ObjectId | None = None
    ) -> UserForAdmin:
        """Changes the fields that were sent, and records what changed.

        Raises:
            NotFound: there is no such account.
            LastAdmin: no active admin would be left.
        """
        values = data.model_dump(exclude_unset=True)
        if not values:
            return await self.accounts.find(user_id)
        old, new = await self.accounts.change(user_id, values)
        if new.disabled != old.disabled:
            await audit_log.record("account_disabled" if new.disabled else "account_enabled", new.object_id, by=by)
        if new.role != old.role:
            await audit_log.record("role_changed", new.object_id, by=by, before=old.role, after=new.role)
        return new

    async def reset_password(self, user_id: ObjectId, data: NewPassword, audit_log: AuditLog) -> str:
        """Sets a new password, ends the account's sessions in the same write, and notifies its owner. Returns its user name.

        Raises:
            NotFound: there is no such account.
            InvalidInput: the password is too easy to guess.
            Overloaded: too many passwords are being hashed.
        """
        user = await self.accounts.find(user_id)
        password_policy.check(data.password, user.username, user.email, user.full_name)
        await self.accounts.set_password(user_id, await self.hasher.hash(data.password))
        await audit_log.record("password_reset", user_id)
        if user.email_verified:
            await self.mail.enqueue("notice_password", audit_log, user=user_id, email=user.email)
        await self.throttle.reset(user.username)
        return user.username
