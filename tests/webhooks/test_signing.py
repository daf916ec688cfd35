"""What arrives is signed as the Standard Webhooks specification says: its own library verifies it."""

from datetime import timedelta

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from taskapi.core.clock import utc_now
from taskapi.core.keys import Keyring
from taskapi.webhooks.secrets import WebhookSecrets
from taskapi.webhooks.signing import new_secret, signature_headers
from tests.client import Account
from tests.conftest import SECRET
from tests.webhooks.hooks import BSON, add_hook, change_hook, stored_hook, until_stored
from tests.webhooks.receiver import Received, Receiver

BODY = '{"type":"task.created","data":{"title":"Größe"}}'.encode()


def verify(secret: str, received: Received) -> None:
    Webhook(secret).verify(received.body.decode(), received.headers)


async def ping(account: Account, hook: dict[str, str], here: Receiver) -> Received:
    number = len(here.taken)
    await until_stored({"status": "pending"}, 0)  # or the attempt that is ending would be the answer to this ping as well
    assert (await account.post(f"/webhooks/{hook['id']}/ping")).status_code == 202
    await here.until(lambda: len(here.taken) > number)
    return here.taken[-1]


def test_each_secret_signs() -> None:
    first, second, other = new_secret(), new_secret(), new_secret()
    headers = signature_headers("msg_1", int(utc_now().timestamp()), BODY, [first, second])
    for secret in (first, second):
        assert Webhook(secret).verify(BODY.decode(), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(BODY.decode(), headers)


def test_the_example_of_the_specification() -> None:
    secret = "whsec_plJ3nmyCDGBKInavdOK15jsl"
    body = b'{"event_type":"ping","data":{"success":true}}'
    headers = signature_headers("msg_loFOjxBNrRLzqYUf", 1731705121, body, [secret])
    assert headers["webhook-signature"] == "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="


def test_a_lost_key_leaves_no_secret() -> None:
    old, new = (WebhookSecrets(Keyring([key * 8]).cipher("webhook secrets")) for key in ("0123", "4567"))
    hook = {"secret": old.encrypt("whsec_old"), "previous_secret": new.encrypt("whsec_new")}
    assert old.current(hook) == ["whsec_old"]
    assert new.current({**hook, "previous_secret_until": utc_now() + timedelta(hours=1)}) == []


@pytest.mark.real
async def test_what_arrives_is_signed(ada: Account, here: Receiver) -> None:
    hook = await add_hook(ada, here)
    received = await ping(ada, hook, here)
    verify(hook["secret"], received)
    assert received.headers["content-type"] == "application/json"
    assert received.headers["user-agent"] == "taskapi-webhooks/1"
    assert received.json["type"] == "webhook.ping"
    assert received.data["webhook_id"] == hook["id"]
    tampered = Received(received.path, received.headers, received.body.replace(b"ping", b"pong"))
    with pytest.raises(WebhookVerificationError):
        verify(hook["secret"], tampered)


@pytest.mark.real
async def test_both_secrets_sign_for_a_day(ada: Account, here: Receiver) -> None:
    hook = await add_hook(ada, here)
    answer = await ada.post(f"/webhooks/{hook['id']}/rotate-secret")
    rotated = answer.json()
    assert rotated["secret"] not in (hook["secret"], None)
    assert "secret" not in (await ada.get(f"/webhooks/{hook['id']}")).json()
    received = await ping(ada, hook, here)
    verify(hook["secret"], received)
    verify(rotated["secret"], received)
    assert len(received.headers["webhook-signature"].split()) == 2
    until = (await stored_hook(hook))["previous_secret_until"]
    assert timedelta(hours=23) < until - utc_now().replace(tzinfo=None) <= timedelta(hours=24)

    await change_hook(hook, previous_secret_until=utc_now())
    received = await ping(ada, hook, here)
    verify(rotated["secret"], received)
    with pytest.raises(WebhookVerificationError):
        verify(hook["secret"], received)
    assert (await ada.get(f"/webhooks/{hook['id']}")).json()["previous_secret_until"] is None


@pytest.mark.real
async def test_repeated_rotation_keeps_the_known_secret(ada: Account, here: Receiver) -> None:
    """As of a caller who has not got the answer to the first one, and whose receiver has the secret before it."""
    hook = await add_hook(ada, here)
    made = [(await ada.post(f"/webhooks/{hook['id']}/rotate-secret")).json() for _ in range(2)]
    received = await ping(ada, hook, here)
    for each in (hook, *made):
        verify(each["secret"], received)
    assert len(received.headers["webhook-signature"].split()) == 3


def test_previous_secrets_end_one_by_one() -> None:
    secrets, now = WebhookSecrets(Keyring([SECRET]).cipher("webhook secrets")), utc_now()
    hook: BSON = {"secret": secrets.encrypt("whsec_0")}
    for number in range(1, 10):
        hook |= {"previous_secret": secrets.retired(hook), "secret": secrets.encrypt(f"whsec_{number}")}
        hook["previous_secret_until"] = now + timedelta(hours=number)
    assert secrets.current(hook) == [f"whsec_{number}" for number in (9, 8, 7, 6, 5, 4)]
    assert secrets.current({**hook, "previous_secret": secrets.encrypt("whsec_8 whsec_7@1000000000")}) == ["whsec_9", "whsec_8"]
    ended = {**hook, "previous_secret_until": now}
    assert secrets.current(ended) == ["whsec_9"]
    assert secrets.current({**hook, "previous_secret": secrets.retired(ended)}) == ["whsec_9"] * 2
