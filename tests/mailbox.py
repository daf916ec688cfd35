"""The mails that the application under test keeps in its folder, and those of a real SMTP server."""

import asyncio
import email
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope

from taskapi.mail.documents import MailJobDocument
from tests.stored import collection
from tests.tools import PATIENCE_SECONDS, free_port

TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


def text_of(message: EmailMessage, kind: str = "plain") -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content())


def token_of(message: EmailMessage) -> str:
    (token,) = set(TOKEN.findall(text_of(message)))
    assert token in text_of(message, "html")
    return str(token)


@dataclass(frozen=True)
class Mailbox:
    """The folder of an application without an SMTP server."""

    folder: Path

    async def settle(self) -> None:
        """Returns when no mail is still to be sent."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while await collection(MailJobDocument).count_documents({}):
            assert time.monotonic() < deadline, "mails were not sent"
            await asyncio.sleep(0.005)

    async def all(self) -> list[EmailMessage]:
        """Every mail, the oldest first, when no more are to come."""
        await self.settle()
        paths = sorted(self.folder.glob("*.eml"))
        return [email.message_from_bytes(path.read_bytes(), _class=EmailMessage, policy=default) for path in paths]

    async def to(self, address: str, subject: str = "") -> list[EmailMessage]:
        """The mails to ``address`` whose subject holds ``subject``."""
        return [mail for mail in await self.all() if mail["To"] == address and subject in mail["Subject"]]

    async def token(self, address: str, subject: str = "") -> str:
        """The token of the newest of them."""
        return token_of((await self.to(address, subject))[-1])

    async def empty(self) -> None:
        """Removes all mails. Waits for those that are to come: one that is deleted while it is written is sent again later."""
        await self.settle()
        while paths := list(self.folder.glob("*")):
            for path in paths:
                path.unlink(missing_ok=True)  # a file that is being written gets another name meanwhile


@dataclass
class SmtpInbox:
    """What an SMTP server has taken. ``refuse`` answers the recipient, ``refuse_data`` the message."""

    port: int
    taken: list[Envelope] = field(default_factory=list)
    greeted: list[str] = field(default_factory=list)
    refuse: str | None = None
    refuse_data: str | None = None

    async def handle_EHLO(self, _: Any, session: Any, __: Any, hostname: str, responses: list[str]) -> list[str]:  # noqa: N802
        session.host_name = hostname
        self.greeted.append(hostname)
        return responses

    async def handle_RCPT(self, _: Any, __: Any, envelope: Envelope, address: str, ___: Any) -> str:  # noqa: N802
        if self.refuse:
            return self.refuse
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _: Any, __: Any, envelope: Envelope) -> str:  # noqa: N802
        if self.refuse_data:
            return self.refuse_data
        self.taken.append(envelope)
        return "250 OK"

    def mails(self) -> list[EmailMessage]:
        contents = [envelope.content for envelope in self.taken]
        return [email.message_from_bytes(content, _class=EmailMessage, policy=default) for content in contents if content]  # type: ignore[arg-type]


@contextmanager
def smtp_server(account: tuple[str, str] | None = None, tls: ssl.SSLContext | None = None, **options: Any) -> Iterator[SmtpInbox]:
    """A real SMTP server meanwhile; ``account`` is the one that it wants, ``tls`` what it offers STARTTLS with."""

    def authenticate(_: Any, __: Any, ___: Any, ____: Any, given: Any) -> AuthResult:
        good = account == (given.login.decode(), given.password.decode())
        return AuthResult(success=good, handled=False)

    inbox = SmtpInbox(free_port())
    wanted: dict[str, Any] = {"authenticator": authenticate, "auth_required": True, "auth_require_tls": False} if account else {}
    controller = Controller(inbox, "127.0.0.1", inbox.port, enable_SMTPUTF8=True, **{"tls_context": tls, **wanted, **options})
    controller.start()
    try:
        yield inbox
    finally:
        controller.stop()
