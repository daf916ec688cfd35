"""Changing one's own account: its name, e-mail address and password, in one write."""

from taskapi.accounts.errors import WrongPassword
from taskapi.accounts.security import password_policy
from taskapi.accounts.users import addresses, renaming
from taskapi.accounts.users.addresses import Change
from taskapi.accounts.users.repository import AccountUpdate
from taskapi.accounts.users.schemas import UserRead, UserUpdate
from taskapi.accounts.users.service import Reauthenticator, repository
from taskapi.audit.recorder import AuditLog
from taskapi.core.clock import utc_now
from taskapi.core.errors import InvalidToken
from taskapi.mail.queue import Outbox


async def change(
    user: UserRead, data: UserUpdate, reauthenticator: Reauthenticator, mail: Outbox, audit_log: AuditLog
) -> UserRead:
    """Changes the fields that were sent; the copies of a new user name inside the user's tasks follow later.

    A new password ends every session but the one that asks for it, and cancels a pending change of the address.

    Raises:
        InvalidInput: the new password is too easy to guess, the current one is needed to change the address, or the new
            address is a local one where those are not accepted.
        UsernameTaken, EmailTaken: another account has it.
        WrongPassword, TooManyAttempts, Overloaded: as ``Reauthenticator`` says of ``current_password``.
        TooManyAttempts: also when the account had too many addresses verified, or it or the address it calls from has asked for
            too many names or addresses.
        InvalidToken: the account was disabled or deleted meanwhile.
    """
    sent = data.model_fields_set
    if not sent:
        return user
    mail.check(data.email)
    if _asks_for_names(user, data):
        await reauthenticator.throttle.change_of_name(user.object_id, audit_log.address)
    write = AccountUpdate(values={"updated_at": utc_now()})
    write.values |= data.model_dump(include={"full_name"}, exclude_unset=True)
    if "password" in sent:
        password_policy.check(data.password, user.username, user.email, user.full_name, data.username, data.email, data.full_name)
    if "current_password" in sent:  # a change of the password in between makes this one void
        write.conditions["password_hash"] = await reauthenticator.confirm_password(user, data.current_password)
    if "password" in sent:
        await _set_password(write, data.password, reauthenticator)
    moved = await _move(write, user, data.email, reauthenticator) if "email" in sent else None
    if "username" in sent and data.username != user.username:
        _rename(write, data.username)
    changed = await repository().update(user.object_id, write)
    if changed is None:
        if "password_hash" in write.conditions:
            raise WrongPassword
        if moved and await repository().is_active(user.object_id):
            raise addresses.password_needed()
        raise InvalidToken
    await _report(write, user, moved, mail, audit_log)
    return changed


def _asks_for_names(user: UserRead, data: UserUpdate) -> bool:
    """Whether the answer says if a user name or an address, other than their own, is taken."""
    wanted = ((data.username, user.username), (data.email, user.email))
    return any(new and new.lower() != (own or "").lower() for new, own in wanted)


async def _set_password(write: AccountUpdate, password: str, reauthenticator: Reauthenticator) -> None:
    write.values["password_hash"] = await reauthenticator.hasher.hash(password)
    write.values["sessions"] = [reauthenticator.session] if reauthenticator.session else []
    write.removed["pending_email"] = ""


async def _move(write: AccountUpdate, user: UserRead, email: str | None, reauthenticator: Reauthenticator) -> Change:
    """Changes the address, or lets the new one wait until it is verified."""
    proven = "password_hash" in write.conditions
    moved = await addresses.change(user, email, proven=proven, signed_in=reauthenticator.session is not None)
    if moved.to_verify:
        await reauthenticator.throttle.verification(user.object_id)
    write.conditions |= moved.holds
    write.values |= moved.values
    write.removed = moved.removed
    return moved


def _rename(write: AccountUpdate, username: str) -> None:
    follows = renaming.renamed(utc_now())
    write.values |= {"username": username, "username_key": username.lower(), **follows["$set"]}
    write.counted |= follows["$inc"]


async def _report(write: AccountUpdate, user: UserRead, moved: Change | None, mail: Outbox, audit_log: AuditLog) -> None:
    """Records what was written, and tells the addresses concerned."""
    if "password_hash" in write.values:
        await audit_log.record("password_changed", user.object_id)
        if user.email_verified:
            await mail.enqueue("notice_password", audit_log, user=user.object_id, address=user.email)
    if moved:
        await moved.follow(user.object_id, mail, audit_log)
    if "username" in write.values:
        await audit_log.record("username_changed", user.object_id, before=user.username, after=write.values["username"])
