"""The operator's commands on accounts, with the services, rules and security events of the API."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final

from pydantic import ValidationError
from pymongo.errors import PyMongoError

from taskapi.accounts.security.access_tokens import PasswordHasher
from taskapi.accounts.sessions.repository import SessionRepository
from taskapi.accounts.two_factor.repository import TwoFactorRepository
from taskapi.accounts.two_factor.service import remove_lost
from taskapi.accounts.users.admin_repository import AdminRepository
from taskapi.accounts.users.admin_schemas import AccountChange, NewPassword, UserQuery
from taskapi.accounts.users.admins import AdminService
from taskapi.accounts.users.repository import UserRepository
from taskapi.accounts.users.schemas import UserCreate
from taskapi.accounts.users.service import UserService
from taskapi.accounts.wiring import throttle_of
from taskapi.audit.recorder import AuditLog
from taskapi.audit.repository import SecurityEventRepository
from taskapi.core import logs
from taskapi.core.errors import DomainError, StartupError, field_errors
from taskapi.core.keys import Keyring
from taskapi.core.settings import Settings, load_settings
from taskapi.db import connection, embedded
from taskapi.db.connection import Database
from taskapi.db.migrations.startup import OnStart
from taskapi.mail.queue import Outbox
from taskapi.mail.repository import MailRepository
from taskapi.main import prepare

AGENT = "command line"
GENERATED_BYTES = 15
MAX_QUERY_MS = 60_000


@dataclass(frozen=True, slots=True)
class UserCommands:
    """The operator's commands, and the services that they use."""

    users: UserService
    admins: AdminService
    accounts: AdminRepository
    factors: TwoFactorRepository
    audit_log: AuditLog

    async def create(self, name: str, email: str | None, password: str, *, admin: bool) -> str:
        """Creates an account."""
        data = UserCreate(username=name, email=email, password=password)
        user = await self.users.register(data, self.audit_log)
        if admin:
            await self._change(user.username, AccountChange(role="admin"))
        return f"{user.username} is {'an admin' if admin else 'a user'}, with the id {user.id}."

    async def promote(self, name: str) -> str:
        """Makes an account an admin."""
        return f"{await self._change(name, AccountChange(role='admin'))} is an admin, from the next sign-in on."

    async def demote(self, name: str) -> str:
        """Makes an admin an ordinary user."""
        return f"{await self._change(name, AccountChange(role='user'))} is no admin."

    async def disable(self, name: str) -> str:
        """Disables an account."""
        return (
            f"{await self._change(name, AccountChange(disabled=True))} is disabled, and its sessions and API tokens have ended."
        )

    async def enable(self, name: str) -> str:
        """Enables an account."""
        return f"{await self._change(name, AccountChange(disabled=False))} can sign in."

    async def reset_password(self, name: str, password: str | None) -> str:
        """Sets a new password; None generates one and prints it."""
        new = NewPassword(password=secrets.token_urlsafe(GENERATED_BYTES) if password is None else password)
        username = await self.admins.reset_password(await self.accounts.find_id(name), new, self.audit_log)
        if password is None:
            return new.password
        return f"{username} has a new password, and its sessions have ended; its API tokens still work."

    async def remove_two_factor(self, name: str) -> str:
        """Removes the second factor of an account."""
        removed = await remove_lost(self.factors, await self.accounts.find_id(name), self.audit_log)
        return f"{name} {'signs in with the password alone' if removed else 'has no second factor'}."

    async def list(self) -> str:
        """One line for each account."""
        lines = [f"{'role':8}{'state':10}{'made':12}name"]
        query = UserQuery(limit=100)
        while True:
            page = await self.admins.list_page(query)
            for user in page.entries:
                state = "disabled" if user.disabled else "leaving" if user.leaves_at else "active"
                lines.append(f"{user.role:8}{state:10}{user.created_at:%Y-%m-%d}  {user.username}")
            if query.start + query.limit >= page.total:
                return "\n".join(lines)
            query = UserQuery(limit=query.limit, offset=query.start + query.limit)

    async def _change(self, name: str, change: AccountChange) -> str:
        return (await self.admins.change(await self.accounts.find_id(name), change, self.audit_log)).username


ACTIONS: Final[dict[str, Callable[..., Awaitable[str]]]] = {
    "create": UserCommands.create,
    "promote": UserCommands.promote,
    "demote": UserCommands.demote,
    "disable": UserCommands.disable,
    "enable": UserCommands.enable,
    "reset-password": UserCommands.reset_password,
    "remove-two-factor": UserCommands.remove_two_factor,
    "list": UserCommands.list,
}


def run(action: str, **options: Any) -> str:
    """Runs ``action`` on the configured MongoDB, or on the embedded one, which is started unless a server is running.

    Raises:
        StartupError: the action failed; one line that says why.
    """
    settings = load_settings()
    is_new = embedded.is_new(settings)
    if action != "create":
        embedded.require_data(settings)
    logs.configure("error", settings.log_format)
    try:
        with embedded.provide(settings, join=True) as complete:
            said = asyncio.run(_run(complete, action, options))
            return f"{said}\nThe database is new: {settings.data_dir.absolute()}" if is_new else said
    except (ValidationError, DomainError, PyMongoError, KeyboardInterrupt) as error:
        raise StartupError(why(error)) from None


def why(error: BaseException) -> str:
    """The reason for a failure, in one line."""
    if isinstance(error, ValidationError):
        faults = field_errors(error)
        return "; ".join(f"{fault.field}: {fault.message}" for fault in faults)
    if isinstance(error, DomainError):
        return "; ".join(f"{fault.field}: {fault.message}" for fault in error.faults or ()) or error.detail
    return f"MongoDB: {type(error).__name__}" if isinstance(error, PyMongoError) else "interrupted"


def wire(settings: Settings, database: Database, hasher: PasswordHasher) -> UserCommands:
    """The commands for ``database``, with services of their own."""
    # Nothing to wake: the servers check for due mails periodically.
    mail = Outbox(MailRepository(database), lambda: None, settings.email_local_domains)
    events = SecurityEventRepository(database, timedelta(days=settings.event_days))
    accounts = AdminRepository(database, SessionRepository(database).find_live)
    throttle = throttle_of(settings, database, Keyring(settings.secrets))
    return UserCommands(
        UserService(UserRepository(database), hasher, throttle, mail),
        AdminService(accounts, hasher, throttle, mail, MAX_QUERY_MS),
        accounts,
        TwoFactorRepository(database),
        AuditLog(events, "", AGENT),
    )


async def _run(settings: Settings, action: str, options: dict[str, Any]) -> str:
    hasher = PasswordHasher(**settings.hashing)
    try:
        # The workers of an earlier version may be running on the embedded server, so steps of the contract phase wait.
        on_start = OnStart.auto if embedded.is_used(settings) else OnStart(settings.migrate)
        async with connection.open_database(settings, partial(prepare, on_start)) as database:
            return await ACTIONS[action](wire(settings, database, hasher), **options)
    finally:
        hasher.close()
