"""Attempts at deliveries: what fails is tried again and given up in time, by a clock that the test sets."""

from datetime import timedelta

import pytest
from bson import ObjectId

from taskapi.accounts.users.documents import UserDocument
from taskapi.core.clock import in_utc, utc_now
from taskapi.webhooks.backoff import PATIENCE
from taskapi.webhooks.delivery_repository import KEPT
from tests.client import Account
from tests.stored import collection
from tests.webhooks.clock import Clock, add_delivery
from tests.webhooks.hooks import add_hook, change_hook, deliveries, stored_hook
from tests.webhooks.receiver import OK, Receiver, answer

pytestmark = pytest.mark.real


async def test_a_failure_is_repeated_and_then_forgotten(ada: Account, here: Receiver, clock: Clock) -> None:
    hook = await add_hook(ada, here)
    await add_delivery(ada, hook)
    here.answers = [answer("503 Busy", b"Down for maintenance."), answer("500 Oops")]
    first = await clock.attempt()
    assert (first["status"], first["attempts"], first["code"], first["answer"]) == ("pending", 1, 503, "Down for maintenance.")
    assert in_utc(first["next_attempt_at"]) == clock.now + timedelta(seconds=5)
    assert in_utc((await stored_hook(hook))["failing_since"]) == clock.now
    began = clock.now
    second = await clock.attempt(clock.now + timedelta(seconds=5))
    assert (second["attempts"], in_utc(second["next_attempt_at"]) - clock.now) == (2, timedelta(seconds=30))
    assert in_utc((await stored_hook(hook))["failing_since"]) == began
    third = await clock.attempt(clock.now + timedelta(seconds=30))
    assert (third["status"], third["attempts"], third["code"], third["answer"]) == ("delivered", 3, 200, "fine")
    assert (await stored_hook(hook))["failing_since"] is None
    assert "slot" not in third
    assert len({each.headers["webhook-id"] for each in here.taken}) == 1
    assert len({each.body for each in here.taken}) == 1


async def test_it_is_given_up_after_three_days(ada: Account, here: Receiver, clock: Clock) -> None:
    await add_delivery(ada, await add_hook(ada, here))
    here.always = answer("500 Oops")
    attempts, began = 0, clock.now
    while True:
        found = await clock.attempt()
        attempts += 1
        if found["status"] == "failed":
            break
        clock.now = in_utc(found["next_attempt_at"])
    assert attempts == found["attempts"] == len(here.taken) == 14
    assert timedelta(days=2) < clock.now - began <= PATIENCE


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("120", 120), ("999999999999", 43_200), ("soon", 5), ("-7", 5), ("1e3", 5), ("Wed, 21 Oct 2015 07:28:00 GMT", 5)],
)
async def test_retry_after(ada: Account, here: Receiver, clock: Clock, asked: str, seconds: int) -> None:
    await add_delivery(ada, await add_hook(ada, here))
    here.answers = [answer("429 Slow", b"", f"retry-after: {asked}")]
    found = await clock.attempt()
    assert in_utc(found["next_attempt_at"]) - clock.now == timedelta(seconds=seconds)


async def test_gone_disables_at_once_and_tells_once(ada: Account, here: Receiver, clock: Clock) -> None:
    hook = await add_hook(ada, here)
    await add_delivery(ada, hook)
    await add_delivery(ada, hook, event="2", next_attempt_at=utc_now() + timedelta(days=1))
    here.always = answer("410 Gone")
    await clock.worker.run_due()
    await clock.worker.finish()
    found = await deliveries({})
    assert [(each["status"], each["code"], each["error"]) for each in found] == [
        ("failed", 410, None),
        ("failed", None, "webhook_disabled"),
    ]
    stored = await stored_hook(hook)
    assert (stored["enabled"], stored["disabled_reason"], stored["version"]) == (False, "gone", 2)
    await add_delivery(ada, hook, event="3")
    await clock.worker.run_due()
    await clock.worker.finish()
    assert clock.told == [ObjectId(ada.id)]
    assert len(here.taken) == 1
    assert [each["status"] for each in await deliveries({})] == ["failed"] * 3


async def test_five_days_of_failures_disable(ada: Account, here: Receiver, clock: Clock) -> None:
    hook = await add_hook(ada, here)
    await add_delivery(ada, hook, give_up_at=clock.now + timedelta(days=9))
    here.always = answer("500 Oops")
    await clock.attempt()
    await clock.attempt(clock.now + timedelta(days=4, hours=23))
    assert (await stored_hook(hook))["enabled"]
    await clock.attempt(clock.now + timedelta(hours=1))
    stored = await stored_hook(hook)
    assert (stored["enabled"], stored["disabled_reason"]) == (False, "failing")
    assert clock.told == [ObjectId(ada.id)]


async def test_a_success_starts_the_five_days_anew(ada: Account, here: Receiver, clock: Clock) -> None:
    hook = await add_hook(ada, here)
    await change_hook(hook, failing_since=clock.now - timedelta(days=6))
    await add_delivery(ada, hook)
    await clock.attempt()
    assert (await stored_hook(hook))["failing_since"] is None
    assert (await stored_hook(hook))["enabled"]


async def test_redirects_are_failures(ada: Account, here: Receiver, clock: Clock) -> None:
    await add_delivery(ada, await add_hook(ada, here))
    here.answers = [answer("307 Moved", b"", f"location: {here.base}/elsewhere")]
    found = await clock.attempt()
    assert (found["status"], found["code"]) == ("pending", 307)
    assert [each.path for each in here.taken] == ["/hook"]


@pytest.mark.parametrize(
    ("body", "kept"),
    [(b"x" * 5000, "x" * 1024), (b"\x00\xff\x07ok", "����ok".replace("����", "�" * 3)), ("é".encode() * 600, "é" * 512)],
    ids=["long", "bytes", "letters"],
)
async def test_the_start_of_the_answer_is_kept(ada: Account, here: Receiver, clock: Clock, body: bytes, kept: str) -> None:
    hook = await add_hook(ada, here)
    await add_delivery(ada, hook)
    here.answers = [answer("200 OK", body)]
    found = await clock.attempt()
    assert (found["status"], found["answer"]) == ("delivered", kept)
    assert (await ada.get(f"/webhooks/{hook['id']}/deliveries")).json()[0]["answer"] == kept


@pytest.mark.parametrize("attempt_seconds", [0.5])
async def test_a_silent_receiver_times_out(ada: Account, here: Receiver, clock: Clock) -> None:
    await add_delivery(ada, await add_hook(ada, here))
    here.hang()
    found = await clock.attempt()
    assert (found["status"], found["error"], found["code"]) == ("pending", "timeout", None)


@pytest.mark.parametrize("raw", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 999\r\n", b"HTTP/1.1 200 OK\r\nx: " + b"y" * 99_999])
async def test_answers_that_are_none(ada: Account, here: Receiver, clock: Clock, raw: bytes) -> None:
    await add_delivery(ada, await add_hook(ada, here))
    here.answers = [raw]
    here.close_after = True
    found = await clock.attempt()
    assert (found["status"], found["error"]) == ("pending", "unreachable")


async def test_a_disabled_account_gets_nothing(ada: Account, here: Receiver, clock: Clock) -> None:
    await add_delivery(ada, await add_hook(ada, here))
    await collection(UserDocument).update_one({"_id": ObjectId(ada.id)}, {"$set": {"disabled": True}})
    found = await clock.attempt()
    assert (found["status"], found["error"], here.taken) == ("failed", "account_inactive", [])


async def test_what_was_dispatched_to_a_deleted_webhook_goes(ada: Account, here: Receiver, clock: Clock) -> None:
    hook = await add_hook(ada, here)
    await ada.delete(f"/webhooks/{hook['id']}")
    await add_delivery(ada, hook)
    await clock.worker.run_due()
    assert (await deliveries({}), here.taken) == ([], [])


async def test_a_lost_key_is_reported(ada: Account, here: Receiver, clock: Clock) -> None:
    hook = await add_hook(ada, here)
    await change_hook(hook, secret=b"sealed with another key")
    await add_delivery(ada, hook)
    found = await clock.attempt()
    assert (found["status"], found["error"], here.taken) == ("pending", "secret_unreadable", [])


async def test_redelivery_sends_the_same_again(ada: Account, here: Receiver) -> None:
    hook = await add_hook(ada, here)
    task = await ada.make_task("Once more")
    await here.events(1)
    (shown,) = (await ada.get(f"/webhooks/{hook['id']}/deliveries")).json()
    assert (shown["type"], shown["task_id"]) == ("task.created", task["id"])
    answered = await ada.post(f"/webhooks/{hook['id']}/deliveries/{shown['id']}/redeliver")
    assert (answered.status_code, answered.json()["status"]) == (202, "pending")
    first, second = (await here.events(2))[:2], here.taken
    assert first[0] == first[1]
    assert len({each.headers["webhook-id"] for each in second}) == 1
    assert here.always == OK


async def test_redelivery_is_kept_beyond_its_attempts(ada: Account, here: Receiver, clock: Clock) -> None:
    hook = await add_hook(ada, here)
    made = await add_delivery(ada, hook, status="failed", expires_at=clock.now + timedelta(minutes=1))
    answered = await ada.post(f"/webhooks/{hook['id']}/deliveries/{made['_id']}/redeliver")
    assert (answered.status_code, answered.json()["status"]) == (202, "pending")
    (stored,) = await deliveries({})
    assert in_utc(stored["expires_at"]) >= clock.now + KEPT > in_utc(stored["give_up_at"])
