"""Previews of a task's links, fetched from a real server on loopback."""

import asyncio
from typing import Any

import httpx
import pytest

from taskapi.core import resolver
from taskapi.core.resolver import NameServer, Resolver
from taskapi.tasks.links import fetch
from taskapi.tasks.links.preview import LinkRead, Outcome, preview, title_of
from taskapi.web import outbound
from tests.client import Account
from tests.name_server import SILENT, name_server
from tests.tools import PATIENCE_SECONDS
from tests.web_site import Site, page, site


def pages(*servers: NameServer, allow_private: bool, timeout: float = PATIENCE_SECONDS) -> fetch.PageFetcher:
    return fetch.PageFetcher(Resolver(servers), allow_private=allow_private, timeout=timeout)


def outcomes(found: list[LinkRead]) -> list[Outcome]:
    return [link.outcome for link in found]


async def test_titles_statuses_and_outcomes(ada: Account) -> None:
    async with site() as here:
        paths = ["a", "moved", "missing", "text", "loud", "untitled", "zipped", "cut", "loop", "to-file"]
        task = await ada.make_task(links=[f"{here.base}/{path}" for path in paths])
        answer = await ada.get(f"/tasks/{task['id']}/links")
    assert answer.status_code == 200
    found = answer.json()
    assert [link["url"] for link in found] == task["links"]
    assert [(link["outcome"], link["status"], link["title"]) for link in found] == [
        ("ok", 200, "Page a & more"),
        ("ok", 200, "Page final & more"),
        ("ok", 404, "Not here"),
        ("ok", 200, None),
        ("ok", 200, "Loud"),
        ("ok", 200, None),
        ("ok", 200, None),
        ("unreachable", None, None),
        ("too_many_redirects", None, None),
        ("refused", None, None),
    ]
    assert all(link["elapsed_ms"] > 0 for link in found)


async def test_answers_too_costly_for_a_page_are_abandoned(ada: Account) -> None:
    async with site() as here:
        paths = ["to-port", "interim", "hinted", "wide", "long", "crumbs"]
        task = await ada.make_task(links=[f"{here.base}/{path}" for path in paths])
        found = (await ada.get(f"/tasks/{task['id']}/links")).json()
    assert [(link["outcome"], link["title"]) for link in found] == [
        ("refused", None),
        ("unreachable", None),
        ("ok", "hinted"),
        ("unreachable", None),
        ("unreachable", None),
        ("ok", "a" * 300),
    ]


async def test_unexpected_error_fails_only_its_page(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: object) -> None:
        raise ArithmeticError

    monkeypatch.setattr(outbound, "is_public", fail)
    async with site() as here, pages(allow_private=False) as fetcher:
        assert outcomes(await preview([f"{here.base}/a"], fetcher, "ada")) == [Outcome.unreachable]
    assert "ArithmeticError" in caplog.text
    assert here.base not in caplog.text


async def test_no_links_no_pages(ada: Account) -> None:
    task = await ada.make_task()
    assert (await ada.get(f"/tasks/{task['id']}/links")).json() == []


async def test_pages_are_fetched_side_by_side(ada: Account) -> None:
    async with site() as here:  # each page is answered only once all three were asked for
        task = await ada.make_task(links=[f"{here.base}/together{n}" for n in range(3)])
        found = (await ada.get(f"/tasks/{task['id']}/links")).json()
    assert [link["outcome"] for link in found] == ["ok"] * 3


async def test_a_page_that_hangs_times_out_alone() -> None:
    async with site() as here, pages(allow_private=True, timeout=3) as fetcher:
        found = await preview([f"{here.base}/hang", f"{here.base}/a"], fetcher, "ada")
    assert [link.outcome for link in found] == [Outcome.timeout, Outcome.ok]


async def test_an_endless_page_is_read_to_its_limit(ada: Account) -> None:
    async with site() as here:
        task = await ada.make_task(links=[f"{here.base}/endless"])
        found = (await ada.get(f"/tasks/{task['id']}/links")).json()
    assert (found[0]["outcome"], found[0]["title"]) == ("ok", "Endless")


async def test_one_users_cookies_are_not_sent_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    async with site() as here, pages(allow_private=True) as fetcher:
        monkeypatch.setattr(Site, "answer", lambda *_: page("", extra="set-cookie: session=first; path=/\r\n"))
        for _ in range(2):
            assert [link.outcome for link in await preview([f"{here.base}/a"], fetcher, "ada")] == [Outcome.ok]
        assert len(here.heads) == 2
        assert not [head for head in here.heads if b"cookie" in head.lower()]


async def test_the_body_of_a_redirect_is_not_read(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    aread = httpx.Response.aread

    async def noticed(response: httpx.Response) -> bytes:
        read.append(str(response.url))
        return await aread(response)

    async with site() as here, pages(allow_private=True) as fetcher:
        monkeypatch.setattr(httpx.Response, "aread", noticed)
        (link,) = await preview([f"{here.base}/moved"], fetcher, "ada")
    assert (link.outcome, link.title) == (Outcome.ok, "Page final & more")
    assert read == []


async def test_connections_are_pooled() -> None:
    async with site() as here, pages(allow_private=True) as fetcher:
        for _ in range(3):
            assert [link.outcome for link in await preview([f"{here.base}/a"], fetcher, "ada")] == [Outcome.ok]
        assert here.connections == 1


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1", "169.254.169.254", "0.0.0.0", "2130706433"]
)
async def test_private_addresses_are_refused(host: str) -> None:
    async with site() as here, pages(allow_private=False) as fetcher:
        port = here.base.rpartition(":")[2]
        (link,) = await preview([f"http://{host}:{port}/a"], fetcher, "ada")
        assert (link.outcome, link.status) == (Outcome.refused, None)
        assert here.connections == 0


async def test_a_redirect_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with site() as here, pages(allow_private=False) as fetcher:
        checked: list[str] = []

        def public_once(address: str) -> bool:
            checked.append(address)
            return len(checked) == 1

        monkeypatch.setattr(outbound, "is_public", public_once)
        target = here.base.replace("127.0.0.1", "localhost")
        monkeypatch.setattr(Site, "answer", lambda *_: page("", "302 Found", extra=f"location: {target}/inside\r\n"))
        (link,) = await preview([f"{here.base}/start"], fetcher, "ada")
        assert link.outcome is Outcome.refused
        assert here.connections == 1


async def test_a_name_with_one_private_address_is_refused() -> None:
    async with site() as here, name_server(mixed=["8.8.8.8", "127.0.0.1"], inside=["::1"]) as dns:
        port = here.base.rpartition(":")[2]
        async with pages(dns.server, allow_private=False) as fetcher:
            found = await preview([f"http://{name}.example:{port}/a" for name in ("mixed", "inside")], fetcher, "ada")
        assert outcomes(found) == [Outcome.refused] * 2
        assert here.connections == 0


async def test_connection_goes_to_the_checked_ip() -> None:
    async with site() as here, name_server(page=["127.0.0.1"]) as dns, pages(dns.server, allow_private=True) as fetcher:
        port = here.base.rpartition(":")[2]
        assert outcomes(await preview([f"http://page.example:{port}/a"], fetcher, "ada")) == [Outcome.ok]
        assert dns.asked == ["page.example"] * 2  # once for each kind of address


async def test_hanging_pages_use_only_their_accounts_share() -> None:
    async with site() as here, pages(allow_private=True, timeout=60) as fetcher:
        hanging = [asyncio.create_task(preview([f"{here.base}/hang"] * 10, fetcher, "ada")) for _ in range(30)]
        for _ in range(fetch.MAX_PAGES_PER_ACCOUNT):
            await here.hanging.acquire()
        found = await preview([f"{here.base}/a"] * 10, fetcher, "bob")
        assert outcomes(found) == [Outcome.ok] * 10
        assert here.hanging.locked()  # not one more of ada's
        assert not [task for task in hanging if task.done()]
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        assert outcomes(await preview([f"{here.base}/a"], fetcher, "ada")) == [Outcome.ok]


async def test_caller_out_of_time_while_queued_is_told() -> None:
    async with site() as here, pages(allow_private=True, timeout=0.3) as fetcher:
        found = await preview([f"{here.base}/hang"] * 10 + [f"{here.base}/a"], fetcher, "ada")
        assert outcomes(found) == [Outcome.timeout] * 11


async def test_silent_name_servers_do_not_delay_others() -> None:
    async with (
        site() as here,
        name_server(page=["127.0.0.1"]) as dns,
        pages(dns.server, allow_private=True, timeout=60) as fetcher,
    ):
        port = here.base.rpartition(":")[2]
        silent = [f"http://n{number}.{SILENT}/" for number in range(10)]
        waiting = [asyncio.create_task(preview(silent, fetcher, "ada")) for _ in range(30)]
        found = await preview([f"http://page.example:{port}/a"], fetcher, "bob")
        assert outcomes(found) == [Outcome.ok]
        assert not [task for task in waiting if task.done()]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_name_whose_server_is_silent_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "LOOKUP_SECONDS", 0.1)
    async with name_server() as dns, pages(dns.server, allow_private=True, timeout=60) as fetcher:
        assert outcomes(await preview([f"http://one.{SILENT}/"], fetcher, "ada")) == [Outcome.timeout]


async def test_stop_waits_for_no_page_and_no_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "STOPPING_SECONDS", 0.05)
    async with site() as here, name_server() as dns, pages(dns.server, allow_private=True, timeout=3600) as fetcher:
        urls = [f"{here.base}/hang", f"http://one.{SILENT}/", f"{here.base}/hang"] * 5
        waiting = asyncio.create_task(preview(urls, fetcher, "ada"))
        await here.hanging.acquire()
        fetcher.stop()
        fetcher.stop()  # once for each connection of the server
        assert outcomes(await waiting) == [Outcome.timeout] * 15
        assert outcomes(await preview([f"{here.base}/a"], fetcher, "bob")) == [Outcome.timeout]  # its second is over


@pytest.mark.parametrize(
    ("body", "charset", "title"),
    [
        (b"<title>caf\xe9</title>", "iso-8859-1", "café"),
        (b'<meta charset="windows-1252"><title>caf\xe9</title>', None, "café"),
        (b"<title>a\x00b\x07c</title>", None, "a b c"),
        (b"<title>x</title>", "no-such-charset", "x"),
        (b"<title></title><title>second</title>", None, None),
        (b"<svg><title>" + b"y" * 1000, None, "y" * 300),
        (b"\xff\xfe\x00", "utf-8", None),
        (b"<" * 200_000, None, None),
        (b"<![foo[<title>x</title>", None, "x"),
        (b"<title><![ </title>", None, "<!["),
        (b"<title" + b" a" * 50_000, None, None),
        (b"<title>" * 30_000, None, "<title>" * 42 + "<title"),
        (b"<TITLE lang='en'>Big</TITLE>", None, "Big"),
        ("<title>日本</title>".encode("shift_jis"), "shift_jis", "日本"),
        (b"<title>plain</title>" + b"a-" * 30_000, "punycode", "plain"),
    ],
)
def test_titles(body: bytes, charset: str | None, title: str | None) -> None:
    assert title_of(body, charset) == title


async def test_the_call_fails_with_httpx_only_inside(ada: Account) -> None:
    task = await ada.make_task(links=["http://name.invalid/"])
    found: list[dict[str, Any]] = (await ada.get(f"/tasks/{task['id']}/links")).json()
    assert found[0]["outcome"] in {"unreachable", "timeout"}
