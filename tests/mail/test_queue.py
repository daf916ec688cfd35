"""The queue of mails: nothing is lost, nothing is sent twice without need, and what goes wrong is tried again."""

import asyncio
import logging
import time
from datetime import timedelta
from email.message import EmailMessage

import pytest
from bson import ObjectId

from taskapi.core.clock import in_utc, utc_now
from taskapi.core.logs import request_id
from taskapi.db.connection import BSON
from taskapi.db.shapes import validate
from taskapi.mail import queue
from taskapi.mail.documents import MailJobDocument
from taskapi.mail.queue import Compose, MailWorker, Outbox
from taskapi.mail.repository import LEASE, MailRepository
from taskapi.mail.transports import DeliveryError, Send
from tests.client import make_account
from tests.conftest import another
from tests.mailbox import smtp_server
from tests.stored import audit_log, collection, service
from tests.tools import PATIENCE_SECONDS

ADDRESS = "ada@example.com"

pytestmark = pytest.mark.usefixtures("anonymous")


class Postbox:
    """Takes mails, and refuses as many as ``errors`` says."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.taken: list[str] = []
        self.named: list[str] = []

    async def send(self, message: EmailMessage) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.taken.append(str(message["To"]))
        self.named.append(request_id.get())


async def compose(job: BSON) -> EmailMessage | None:
    if job["address"] is None:
        return None
    message = EmailMessage()
    message["To"] = job["address"]
    return message


def worker(compose: Compose, send: Send) -> MailWorker:
    return MailWorker(service(MailRepository), compose, send)


async def enqueue(*addresses: str | None) -> None:
    for address in addresses:
        await Outbox(service(MailRepository), lambda: None).enqueue("password_reset", audit_log(), email=address)


async def jobs() -> list[BSON]:
    return await collection(MailJobDocument).find({}).to_list(None)


async def the_job() -> BSON:
    (job,) = await jobs()
    return job


async def change(**values: object) -> None:
    await collection(MailJobDocument).update_one({}, {"$set": values})


async def until_stored(matching: BSON, number: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while await collection(MailJobDocument).count_documents(matching) != number:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def test_job_is_stored_before_the_worker_is_woken() -> None:
    woken: list[int] = []
    name = request_id.set("request-7")
    outbox = Outbox(service(MailRepository), lambda: woken.append(1))
    await outbox.enqueue("verify_email", audit_log(), user=ObjectId("65f1a2b3c4d5e6f708192a3b"))
    request_id.reset(name)
    job = await the_job()
    validate(MailJobDocument, job)
    assert woken == [1]
    assert (job["kind"], str(job["user"]), job["address"], job["attempts"]) == (
        "verify_email",
        "65f1a2b3c4d5e6f708192a3b",
        None,
        0,
    )
    assert job["origin"] == {"address": "192.0.2.7", "agent": "curl/8.5.0", "request_id": "request-7"}
    assert job["expires_at"] - job["created_at"] == timedelta(days=2)


async def test_what_is_due_is_sent_and_forgotten() -> None:
    name = request_id.set("request-7")
    await enqueue("a@example.com", None, "b@example.com")
    request_id.reset(name)
    post = Postbox()
    await worker(compose, post.send).run_due()
    assert sorted(post.taken) == ["a@example.com", "b@example.com"]
    assert (post.named, request_id.get()) == (["request-7"] * 2, "-")
    assert await jobs() == []


async def test_many_workers_send_each_mail_once() -> None:
    addresses = [f"user{number}@example.com" for number in range(40)]
    await enqueue(*addresses)
    posts = [Postbox() for _ in range(4)]
    await asyncio.gather(*(worker(compose, post.send).run_due() for post in posts))
    assert sorted(address for post in posts for address in post.taken) == sorted(addresses)
    assert await jobs() == []


async def test_failing_server_is_retried_later_without_blocking_others(caplog: pytest.LogCaptureFixture) -> None:
    await enqueue(ADDRESS, "b@example.com")
    post = Postbox(DeliveryError("SMTPConnectError"))
    sender = worker(compose, post.send)
    await sender.run_due()
    job = await the_job()
    assert post.taken == ["b@example.com"]
    assert job["attempts"] == 1
    assert timedelta(0) < in_utc(job["due_at"]) - utc_now() <= timedelta(seconds=10)
    await sender.run_due()
    assert (await the_job())["attempts"] == 1
    await change(due_at=utc_now())
    await sender.run_due()
    assert (post.taken, await jobs()) == (["b@example.com", ADDRESS], [])
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert ADDRESS not in caplog.text


async def test_pauses_grow_to_an_hour() -> None:
    await enqueue(ADDRESS)
    pauses = []
    for attempts in (0, 1, 2, 8, 9, 30, 2**31):
        await change(attempts=attempts, due_at=utc_now())
        await worker(compose, Postbox(DeliveryError("x")).send).run_due()
        job = await the_job()
        pauses.append(round((in_utc(job["due_at"]) - utc_now()).total_seconds()))
    assert pauses == [10, 20, 40, 2560, 3600, 3600, 3600]


@pytest.mark.parametrize("permanent", [True, False])
async def test_refused_or_day_old_mail_is_given_up(caplog: pytest.LogCaptureFixture, permanent: bool) -> None:
    await enqueue(ADDRESS)
    if not permanent:
        await change(created_at=utc_now() - timedelta(days=1), attempts=30)
    job = await the_job()
    await worker(compose, Postbox(DeliveryError("SMTPRecipientsRefused 550", permanent=permanent)).send).run_due()
    assert await jobs() == []
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert str(job["_id"]) in record.getMessage()
    assert "password_reset" in record.getMessage()
    assert ADDRESS not in caplog.text


async def test_mail_left_untried_for_a_day_is_tried() -> None:
    await enqueue(ADDRESS)
    await change(created_at=utc_now() - timedelta(days=1, hours=1))
    post = Postbox()
    await worker(compose, post.send).run_due()
    assert post.taken == [ADDRESS]


async def test_a_stop_lets_a_mail_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "STOPPING_SECONDS", PATIENCE_SECONDS)
    await enqueue(ADDRESS, "b@example.com")
    taken, go_on = asyncio.Event(), asyncio.Event()

    async def say_goodbye(_: EmailMessage) -> None:
        taken.set()
        await go_on.wait()

    stopped = asyncio.create_task(worker(compose, say_goodbye).run_due())
    await taken.wait()
    stopped.cancel()
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.wait([stopped])
    assert stopped.cancelled()
    assert [(job["address"], job["attempts"]) for job in await jobs()] == [("b@example.com", 0)]


async def test_a_killed_worker_loses_no_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "STOPPING_SECONDS", 0)
    await enqueue(ADDRESS)
    sending = asyncio.Event()

    async def hang(_: EmailMessage) -> None:
        sending.set()
        await asyncio.Event().wait()

    killed = asyncio.create_task(worker(compose, hang).run_due())
    await sending.wait()
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)
    post = Postbox()
    await worker(compose, post.send).run_due()
    assert post.taken == []  # it may still be at work
    job = await the_job()
    assert in_utc(job["leased_until"]) - utc_now() > LEASE.duration / 2
    await change(leased_until=utc_now())
    await worker(compose, post.send).run_due()
    assert (post.taken, await jobs()) == ([ADDRESS], [])


async def test_worker_without_its_lease_undoes_nothing() -> None:
    await enqueue(ADDRESS)
    later = utc_now() + timedelta(hours=1)

    async def slow(_: EmailMessage) -> None:
        await change(attempts=2, leased_until=later)  # another worker has it now
        raise DeliveryError("SMTPReadTimeoutError")

    await worker(compose, slow).run_due()
    job = await the_job()
    assert (job["attempts"], in_utc(job["leased_until"])) == (2, later)


async def test_unwritable_mail_is_left_for_later() -> None:
    await enqueue(ADDRESS)

    async def broken(_: BSON) -> EmailMessage | None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await worker(broken, Postbox().send).run_due()
    assert (await the_job())["attempts"] == 1


@pytest.mark.real
async def test_the_application_sends_through_its_smtp_server() -> None:
    with smtp_server() as inbox:
        settings = {"smtp_host": "127.0.0.1", "smtp_port": inbox.port, "smtp_security": "none", "mail_from": "T <t@example.com>"}
        inbox.refuse = "450 later"
        async with another(**settings) as client:
            await make_account(client, "ada", email=ADDRESS)
            await until_stored({"due_at": {"$gt": utc_now() + timedelta(seconds=1)}}, 1)
            inbox.refuse = None
            await change(due_at=utc_now())
            await client.post("/password/forgot", json={"email": "nobody@example.com"})  # which wakes the worker
            await until_stored({}, 0)
    (mail,) = inbox.mails()
    assert (mail["From"], mail["To"], mail["Subject"]) == ("T <t@example.com>", ADDRESS, "Verify your e-mail address")
