"""Nothing is sent to private addresses, however they are named, nor where a receiver redirects to."""

import httpx
import pytest

from taskapi.core.resolver import NameServer, Resolver
from taskapi.web import outbound
from taskapi.webhooks.sender import WebhookSender
from tests.client import Account
from tests.conftest import another
from tests.name_server import SILENT, name_server
from tests.webhooks.hooks import add_hook, until_stored
from tests.webhooks.receiver import Receiver, answer

HEADERS = {"webhook-id": "msg_1"}


def sender(*servers: NameServer, allow_private: bool = False, timeout: float = 5) -> WebhookSender:
    return WebhookSender(Resolver(servers), allow_private=allow_private, timeout=timeout)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "LOCALHOST.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "10.0.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
    ],
)
async def test_private_addresses_are_refused(here: Receiver, host: str) -> None:
    port = here.base.rpartition(":")[2]
    async with sender() as sending:
        for scheme in ("http", "https"):
            found = await sending.post(f"{scheme}://{host}:{port}/hook", b"{}", HEADERS)
            assert (found.error, found.code) == ("refused", None)
    assert here.taken == []


async def test_names_with_a_private_address_are_refused(here: Receiver) -> None:
    port = here.base.rpartition(":")[2]
    names = {"mixed": ["8.8.8.8", "127.0.0.1"], "inside": ["::1"], "meta": ["169.254.169.254"]}
    async with name_server(**names) as dns, sender(dns.server) as sending:
        for name in names:
            found = await sending.post(f"http://{name}.example:{port}/hook", b"{}", HEADERS)
            assert found.error == "refused"
    assert here.taken == []


async def test_a_name_is_checked_at_each_attempt(here: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []

    def public_once(address: str) -> bool:
        checked.append(address)
        return len(checked) == 1

    monkeypatch.setattr(outbound, "is_public", public_once)
    here.close_after = True  # no connection is kept
    port = here.base.rpartition(":")[2]
    async with name_server(rebinding=["127.0.0.1"]) as dns, sender(dns.server) as sending:
        url = f"http://rebinding.example:{port}/hook"
        assert (await sending.post(url, b"{}", HEADERS)).code == 200
        assert (await sending.post(url, b"{}", HEADERS)).error == "refused"
    assert len(here.taken) == 1
    assert dns.asked == ["rebinding.example"] * 4  # for both kinds of address, each time


async def test_a_redirect_is_not_followed(here: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "is_public", lambda _: True)
    for status in ("301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent"):
        here.answers = [answer(status, b"", f"location: {here.base}/inside")]
        async with sender() as sending:
            found = await sending.post(here.url, b"{}", HEADERS)
        assert found.code == int(status[:3])
        assert not found.is_success
    assert {each.path for each in here.taken} == {"/hook"}


@pytest.mark.parametrize("url", ["ftp://example.com/", "http://", "http://[::1", "https://exa mple.com/", "http://a:99999/"])
async def test_what_is_no_address_is_refused(url: str) -> None:
    async with sender(allow_private=True) as sending:
        assert (await sending.post(url, b"{}", HEADERS)).error in {"refused", "unreachable"}


async def test_a_name_whose_server_is_silent_times_out() -> None:
    async with name_server() as dns, sender(dns.server, timeout=0.2) as sending:
        assert (await sending.post(f"http://one.{SILENT}/", b"{}", HEADERS)).error == "timeout"


async def test_an_endless_answer_is_read_to_its_limit(here: Receiver) -> None:
    here.always = b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n" + b"x" * 100_000
    async with sender(allow_private=True) as sending:
        found = await sending.post(here.url, b"{}", HEADERS)
    assert (found.code, found.text) == (200, "x" * 1024)


@pytest.mark.real
async def test_a_refused_address_is_shown_as_such(anonymous: httpx.AsyncClient, ada: Account, here: Receiver) -> None:
    hook = await add_hook(ada, here)
    async with another(webhooks_allow_private=False) as client:
        answered = await client.post(f"/webhooks/{hook['id']}/ping", headers=ada.headers)
        assert answered.status_code == 202
        (stored,) = await until_stored({"error": "refused"})
        assert stored["status"] == "pending"
    assert here.taken == []
