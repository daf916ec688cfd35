"""Changes one's own account, in one write: the names, the e-mail address and the password."""

from dataclasses import dataclass

from taskapi.accounts.errors import WrongPassword
from taskapi.accounts.security import password_policy
from taskapi.accounts.users.email_change import EmailChange, password_needed, plan_change
from taskapi.accounts.users.email_repository import EmailRepository
from taskapi.accounts.users.renaming_repository import outdated_copies
from taskapi.accounts.users.repository import AccountUpdate, UserRepository
from taskapi.accounts.users.schemas import UserRead, UserUpdate
from taskapi.accounts.users.service import Reauthenticator
from taskapi.audit.recorder import AuditLog
from taskapi.core.clock import utc_now
from taskapi.core.errors import InvalidToken
from taskapi.mail.queue import Outbox


@dataclass(frozen=True, slots=True)
class ProfileService:
    """Changes accounts for their owners."""

    users: UserRepository
    emails: EmailRepository
    mail: Outbox

    async def change(self, user: UserRead, data: UserUpdate, reauthenticator: Reauthenticator, audit_log: AuditLog) -> UserRead:
        """Changes the fields that were sent; the copies of a new user name inside the user's tasks follow later.

        A new password ends every session but the one that asks for it, and cancels a pending change of the e-mail address.

        Raises:
            InvalidInput: the new password is too easy to guess, the current one is needed to change the e-mail address, or the
                new address is a local one and the server accepts none.
            UsernameTaken, EmailTaken: another account has it.
            WrongPassword, TooManyAttempts, Overloaded: as ``Reauthenticator`` says of ``current_password``.
            TooManyAttempts: also after too many verification mails for the account, or too many new names or e-mail addresses by
                the account or from the caller's IP address.
            InvalidToken: the account was disabled or deleted, or the session ended meanwhile.
        """
        sent = data.model_fields_set
        if not sent:
            return user
        self.mail.check(data.email)
        if _requests_names(user, data):
            await reauthenticator.throttle.change_of_name(user.object_id, audit_log.ip_address)
        update = AccountUpdate(values={"updated_at": utc_now()})
        if reauthenticator.session_id:  # or a session that ends meanwhile would change the account, and a new password revive it
            update.conditions["sessions"] = reauthenticator.session_id
        update.values |= data.model_dump(include={"full_name"}, exclude_unset=True)
        if "password" in sent:
            own = (user.username, user.email, user.full_name, data.username, data.email, data.full_name)
            password_policy.check(data.password, *own)
        if "current_password" in sent:  # the write fails when the password changes in between
            update.conditions["password_hash"] = await reauthenticator.confirm_password(user, data.current_password)
        if "password" in sent:
            await _set_password(update, data.password, reauthenticator)
        email_change = await self._change_email(update, user, data.email, reauthenticator) if "email" in sent else None
        if "username" in sent and data.username != user.username:
            _rename(update, data.username)
        changed = await self.users.update(user.object_id, update)
        if changed is None:
            if not await self.users.is_active(user.object_id, reauthenticator.session_id):
                raise InvalidToken
            if "password_hash" in update.conditions:
                raise WrongPassword
            if email_change:
                raise password_needed()
            raise InvalidToken
        if changed.username.lower() != user.username.lower():
            await reauthenticator.throttle.forget_addresses(changed.username)
        await self._report(update, user, email_change, audit_log)
        return changed

    async def _change_email(
        self, update: AccountUpdate, user: UserRead, email: str | None, reauthenticator: Reauthenticator
    ) -> EmailChange:
        confirmed, signed_in = "password_hash" in update.conditions, reauthenticator.session_id is not None
        change = await plan_change(self.emails, user, email, password_confirmed=confirmed, signed_in=signed_in)
        if change.to_verify:
            await reauthenticator.throttle.verification(user.object_id)
        update.conditions |= change.conditions
        update.values |= change.values
        update.removed = change.removed
        return change

    async def _report(self, update: AccountUpdate, user: UserRead, email_change: EmailChange | None, audit_log: AuditLog) -> None:
        """Records what was written, and notifies the e-mail addresses concerned."""
        if "password_hash" in update.values:
            await audit_log.record("password_changed", user.object_id)
            if user.email_verified:
                await self.mail.enqueue("notice_password", audit_log, user=user.object_id, email=user.email)
        if email_change:
            await email_change.follow_up(user.object_id, self.mail, audit_log)
        if "username" in update.values:
            await audit_log.record("username_changed", user.object_id, before=user.username, after=update.values["username"])


def _requests_names(user: UserRead, data: UserUpdate) -> bool:
    """Whether the answer reveals if a user name or an e-mail address other than their own is taken."""
    wanted = ((data.username, user.username), (data.email, user.email))
    return any(new and new.lower() != (own or "").lower() for new, own in wanted)


async def _set_password(update: AccountUpdate, password: str, reauthenticator: Reauthenticator) -> None:
    update.values["password_hash"] = await reauthenticator.hasher.hash(password)
    update.values["sessions"] = [reauthenticator.session_id] if reauthenticator.session_id else []
    update.removed["pending_email"] = ""


def _rename(update: AccountUpdate, username: str) -> None:
    update.values |= {"username": username, "username_key": username.lower(), **outdated_copies(utc_now())}
    update.counted["renames"] = 1  # it changes entity tags
