"""Sends mails through an SMTP server, or writes them to a folder when none is configured."""

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTPUTF8
from pathlib import Path
from types import TracebackType
from typing import Literal, cast

import aiosmtplib

from taskapi.core.clock import utc_now
from taskapi.core.errors import TaskAPIError
from taskapi.core.resolver import Resolver
from taskapi.core.settings import Settings

log = logging.getLogger(__name__)

Send = Callable[[EmailMessage], Awaitable[None]]

TIMEOUT_SECONDS = 30.0


class DeliveryError(TaskAPIError):
    """A mail was not sent. The message names the kind of failure, never an e-mail address or a part of the mail.

    ``permanent``: the server will never accept the mail.
    """

    def __init__(self, reason: str, *, permanent: bool = False) -> None:
        super().__init__(reason)
        self.permanent = permanent


@dataclass(frozen=True, slots=True)
class SmtpTransport:
    """Sends through an SMTP server (RFC 5321): with STARTTLS or TLS and a verified certificate, or unencrypted."""

    resolver: Resolver
    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    username: str | None = None
    password: str | None = None
    timeout: float = TIMEOUT_SECONDS  # for each mail

    async def send(self, message: EmailMessage) -> None:
        """Sends ``message``; returns when the server has accepted it.

        Raises:
            DeliveryError: the server refused it, or cannot be reached.
        """
        accepted = False
        try:
            async with asyncio.timeout(self.timeout):
                with await self._connect() as connection:
                    client = _Client(
                        hostname=self.host,
                        sock=connection,
                        local_hostname=await self.resolver.own_name() or _address_literal(connection),
                        username=self.username,
                        password=self.password,
                        use_tls=self.security == "tls",
                        start_tls=self.security == "starttls",
                        timeout=self.timeout,
                    )
                    async with client:
                        await client.send_message(message)
                        accepted = True
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = [refused.code for refused in error.recipients]
            raise DeliveryError(f"{type(error).__name__} {codes[0]}", permanent=min(codes) >= 500) from None
        except aiosmtplib.SMTPResponseException as error:
            permanent = isinstance(error, aiosmtplib.SMTPDataError) and error.code >= 500
            raise DeliveryError(f"{type(error).__name__} {error.code}", permanent=permanent) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            if not accepted:  # how the connection is closed afterwards does not matter
                raise DeliveryError(type(error).__name__) from None

    async def _connect(self) -> socket.socket:
        """A connection to the first IP address of the server that accepts one."""
        *others, last = await self.resolver.addresses(self.host)
        for ip_address in others:
            try:
                return await _connect(ip_address, self.port)
            except OSError:
                continue
        return await _connect(last, self.port)


class _Client(aiosmtplib.SMTP):
    """A client that releases its socket as soon as it is closed.

    A closing TLS transport waits up to 30 seconds for the server's close, and stays registered for the file descriptor until
    then: the next connection with that descriptor could not be opened, or would lose its reader.
    """

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Says goodbye, unless it was broken off: the server may never answer."""
        if isinstance(error, asyncio.CancelledError):
            self.close()
        else:
            await super().__aexit__(kind, error, at)

    def close(self) -> None:
        """Closes the connection immediately."""
        if self.transport is not None:
            cast(asyncio.WriteTransport, self.transport).abort()
        super().close()


async def _connect(ip_address: str, port: int) -> socket.socket:
    connection = socket.socket(socket.AF_INET6 if ":" in ip_address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (ip_address, port))
    except BaseException:
        connection.close()
        raise
    return connection


def _address_literal(connection: socket.socket) -> str:
    """The name of a client without a host name (RFC 5321, section 4.1.3)."""
    ip_address = connection.getsockname()[0]
    return f"[IPv6:{ip_address}]" if ":" in ip_address else f"[{ip_address}]"


@dataclass(frozen=True, slots=True)
class FileTransport:
    """Writes mails to ``.eml`` files, when no SMTP server is configured."""

    folder: Path

    async def send(self, message: EmailMessage) -> None:
        """Writes ``message`` to a file that only this user can read, and logs its path.

        Raises:
            DeliveryError: the file cannot be written.
        """
        path = self.folder / f"{utc_now():%Y%m%dT%H%M%S.%f}-{secrets.token_hex(4)}.eml"
        try:
            await asyncio.to_thread(_write_whole, path, message.as_bytes(policy=SMTPUTF8))
        except OSError as error:
            raise DeliveryError(type(error).__name__) from None
        log.info("mail written to %s (TASKAPI_SMTP_HOST is not set)", path)


def _write_whole(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)


def choose(settings: Settings, resolver: Resolver) -> Send:
    """The transport that the settings ask for."""
    if settings.smtp_host is None:
        return FileTransport(settings.data_dir / "mailbox").send
    password = settings.smtp_password.get_secret_value() if settings.smtp_password else None
    return SmtpTransport(
        resolver, settings.smtp_host, settings.smtp_port, settings.smtp_security, settings.smtp_username, password
    ).send
