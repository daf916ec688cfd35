"""Mails meet real SMTP servers, good and bad, and a folder."""

import asyncio
import ipaddress
import logging
import socket
import ssl
import stat
from contextlib import suppress
from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from taskapi.core import resolver
from taskapi.core.clock import utc_now
from taskapi.core.resolver import NameServer, Resolver
from taskapi.mail.templates import Template, write
from taskapi.mail.transports import DeliveryError, FileTransport, SmtpTransport
from tests.mailbox import SmtpInbox, smtp_server, text_of
from tests.name_server import SILENT, name_server
from tests.tools import PATIENCE_SECONDS, free_port
from tests.web_site import site

ADDRESS = "ada@example.com"
ACCOUNT = ("mailer", "the password of the mailer")


def a_mail(recipient: str = ADDRESS) -> EmailMessage:
    return write(Template("A subject", ("Hello {name},", ".", "{name}")), "Tasks <tasks@example.com>", recipient, {"name": "ada"})


def server(port: int, host: str = "127.0.0.1", *servers: NameServer, **options: Any) -> SmtpTransport:
    return SmtpTransport(Resolver(servers), host, port, **{"security": "none", "timeout": PATIENCE_SECONDS, **options})


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 that it signed itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = utc_now()
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(private + made.public_bytes(pem))
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


async def test_a_mail_arrives_whole(caplog: pytest.LogCaptureFixture) -> None:
    with smtp_server() as inbox:
        await server(inbox.port).send(a_mail())
    (envelope,), (mail,) = inbox.taken, inbox.mails()
    assert (envelope.mail_from, envelope.rcpt_tos) == ("tasks@example.com", [ADDRESS])
    assert text_of(mail).splitlines() == ["Hello ada,", "", ".", "", "ada"]
    assert ADDRESS not in caplog.text


async def test_an_address_in_another_script_is_sent_to() -> None:
    with smtp_server() as inbox:
        await server(inbox.port).send(a_mail("müller@bücher.example"))
        await server(inbox.port).send(a_mail("ada@bücher.example"))
    assert [envelope.rcpt_tos for envelope in inbox.taken] == [["müller@bücher.example"], ["ada@xn--bcher-kva.example"]]


@pytest.mark.filterwarnings("ignore:Requiring AUTH")
async def test_the_server_may_want_an_account() -> None:
    with smtp_server(ACCOUNT) as inbox:
        await server(inbox.port, username=ACCOUNT[0], password=ACCOUNT[1]).send(a_mail())
        assert len(inbox.taken) == 1
        for wrong in ({"username": ACCOUNT[0], "password": "wrong"}, {}):
            with pytest.raises(DeliveryError) as caught:
                await server(inbox.port, **wrong).send(a_mail())
            assert not caught.value.permanent  # the operator can set it right
            assert "wrong" not in str(caught.value)
    assert len(inbox.taken) == 1


@pytest.mark.parametrize(
    ("answers", "permanent"),
    [
        ({"refuse": "550 no such user ada@example.com"}, True),
        ({"refuse": "450 try again, ada@example.com"}, False),
        ({"refuse_data": "554 this mail to ada@example.com is spam"}, True),
        ({"refuse_data": "451 busy, ada@example.com"}, False),
    ],
    ids=str,
)
async def test_refusal_says_whether_to_retry_without_the_email(answers: dict[str, str], permanent: bool) -> None:
    with smtp_server() as inbox:
        for name, answer in answers.items():
            setattr(inbox, name, answer)
        with pytest.raises(DeliveryError) as caught:
            await server(inbox.port).send(a_mail())
    assert caught.value.permanent is permanent
    assert ADDRESS not in str(caught.value)
    assert next(iter(answers.values()))[:3] in str(caught.value)
    assert caught.value.__cause__ is None


async def test_nobody_listens() -> None:
    with pytest.raises(DeliveryError) as caught:
        await server(free_port()).send(a_mail())
    assert not caught.value.permanent


@pytest.mark.parametrize("greeting", [b"", b"220 hello\r\n", b"nonsense\r\n" * 100])
async def test_hanging_or_nonsensical_server_is_abandoned(greeting: bytes) -> None:
    left = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await reader.read()  # until the other side goes
        left.set()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as listening:
        with pytest.raises(DeliveryError):
            await server(listening.sockets[0].getsockname()[1], timeout=0.2).send(a_mail())
        await asyncio.wait_for(left.wait(), PATIENCE_SECONDS)


async def test_a_stop_waits_for_no_farewell() -> None:
    asked = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        await reader.readline()
        asked.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as listening:
        sending = asyncio.create_task(server(listening.sockets[0].getsockname()[1], timeout=3600.0).send(a_mail()))
        await asked.wait()
        sending.cancel()
        await asyncio.wait([sending], timeout=5)
        assert sending.cancelled()


async def test_accepted_mail_is_sent_though_quitting_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*_: Any) -> str:
        await asyncio.Event().wait()
        return ""

    monkeypatch.setattr(SmtpInbox, "handle_QUIT", hang, raising=False)
    with smtp_server() as inbox:
        await server(inbox.port, timeout=3.0).send(a_mail())
    assert len(inbox.taken) == 1


async def test_every_resolved_address_of_the_server_is_tried() -> None:
    async with name_server(relay=["127.0.0.2", "127.0.0.1"]) as dns:
        with smtp_server() as inbox:  # on the second of them
            await server(inbox.port, "relay.example", dns.server).send(a_mail())
        assert len(inbox.taken) == 1


async def test_a_client_without_a_name_gives_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "3f2a")
    monkeypatch.setattr(socket, "getfqdn", None)  # asks name servers, in a thread that nobody can stop
    with smtp_server(server_hostname="relay") as inbox:
        await server(inbox.port).send(a_mail())
    assert inbox.greeted == ["[127.0.0.1]"]


async def test_unresolvable_server_is_a_delivery_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async with name_server() as dns:
        relay = server(25, f"relay.{SILENT}", dns.server, timeout=3600.0)
        sending = asyncio.create_task(relay.send(a_mail()))
        await dns.was_asked.wait()
        sending.cancel()  # as a stop does
        await asyncio.wait([sending])
        assert sending.cancelled()
        monkeypatch.setattr(resolver, "LOOKUP_SECONDS", 0.1)
        with pytest.raises(DeliveryError) as caught:
            await relay.send(a_mail())
        assert not caught.value.permanent


async def test_starttls_with_a_certificate_that_is_trusted(
    monkeypatch: pytest.MonkeyPatch, certificate: Path, tls: ssl.SSLContext
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with smtp_server(ACCOUNT, tls, auth_require_tls=True) as inbox:
        await server(inbox.port, security="starttls", username=ACCOUNT[0], password=ACCOUNT[1]).send(a_mail())
    assert len(inbox.taken) == 1


async def test_nothing_is_sent_without_the_required_encryption(tls: ssl.SSLContext) -> None:
    with smtp_server(tls=tls) as stranger, smtp_server() as plain:
        for port, security in ((stranger.port, "starttls"), (plain.port, "starttls"), (plain.port, "tls")):
            with pytest.raises(DeliveryError):
                await server(port, security=security, timeout=2.0).send(a_mail())
        assert (stranger.taken, plain.taken) == ([], [])


@pytest.mark.parametrize("offered", ["tls_context", "ssl_context", None])
@pytest.mark.parametrize("security", ["tls", "starttls"])
@pytest.mark.parametrize("trusted", [True, False])
async def test_connection_after_a_mail_is_unaffected_by_it(
    monkeypatch: pytest.MonkeyPatch, certificate: Path, tls: ssl.SSLContext, offered: str | None, security: str, trusted: bool
) -> None:
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    options: dict[str, Any] = {offered: tls} if offered else {}
    with smtp_server(**options) as inbox:
        async with site() as here:
            for _ in range(3):
                with suppress(DeliveryError):
                    await server(inbox.port, security=security, timeout=0.5).send(a_mail())
                reader, writer = await asyncio.open_connection(*here.base.removeprefix("http://").split(":"))
                writer.write(b"GET /a HTTP/1.0\r\n\r\n")
                assert (await asyncio.wait_for(reader.readline(), PATIENCE_SECONDS)).startswith(b"HTTP/1.1 200")
                writer.close()


async def test_folder_keeps_complete_mails_readable_by_owner_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "data" / "mailbox"
    with caplog.at_level(logging.INFO, "taskapi"):
        await asyncio.gather(*(FileTransport(folder).send(a_mail()) for _ in range(20)))
    paths = list(folder.iterdir())
    assert {path.suffix for path in paths} == {".eml"}
    assert len(paths) == 20
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    mail = message_from_bytes(paths[0].read_bytes(), _class=EmailMessage, policy=default)
    assert (mail["To"], text_of(mail)[:10]) == (ADDRESS, "Hello ada,")
    assert {str(path) for path in paths} == {record.getMessage().split()[3] for record in caplog.records}
    assert ADDRESS not in caplog.text


async def test_unwritable_folder_is_a_delivery_error(tmp_path: Path) -> None:
    (tmp_path / "mailbox").write_text("a file")
    with pytest.raises(DeliveryError):
        await FileTransport(tmp_path / "mailbox").send(a_mail())
