"""The pages behind a task's links, fetched from a real server on loopback."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from taskapi import fetch
from taskapi.tasks.links import Outcome, preview, title_of
from tests.client import Account

Handler = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


def page(body: str, status: str = "200 OK", kind: str = "text/html; charset=utf-8", extra: str = "") -> bytes:
    content = body.encode()
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(content)}\r\n{extra}\r\n".encode() + content


class Site:
    """A small web server: answers by path, and can wait until several requests are open at once."""

    def __init__(self) -> None:
        self.together = asyncio.Barrier(3)
        self.base = ""
        self.connections = 0
        self.heads: list[bytes] = []
        self.open: set[asyncio.Task[None]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self.serve(reader, writer))
        self.open.add(task)
        await asyncio.wait([task])
        writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while request := await reader.readline():
            head = request
            while (line := await reader.readline()).strip():
                head += line
            self.heads.append(head)
            path = request.split()[1].decode()
            if path.startswith("/together"):
                await self.together.wait()
            if path == "/hang":
                await asyncio.Event().wait()
            elif path == "/cut":
                break
            elif path == "/endless":
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n<title>Endless</title>")
                while not writer.is_closing():
                    writer.write(b"x" * 65536)
                    await writer.drain()
            else:
                writer.write(self.answer(path))
                await writer.drain()

    def answer(self, path: str) -> bytes:
        answers = {
            "/moved": page("", "302 Found", extra="location: /final\r\n"),
            "/loop": page("", "302 Found", extra="location: /loop\r\n"),
            "/to-file": page("", "302 Found", extra="location: file:///etc/passwd\r\n"),
            "/missing": page("<title>Not here</title>", "404 Not Found"),
            "/text": page("<title>Not a title</title>", kind="text/plain"),
            "/untitled": page("<p>nothing</p>"),
            "/zipped": page("<title>never unpacked</title>", extra="content-encoding: gzip\r\n"),
        }
        return answers.get(path, page(f"<html><title>\n Page  {path[1:]} &amp; more </title>"))


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    here = Site()
    server = await asyncio.start_server(here.accept, "127.0.0.1", 0)
    here.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield here
    finally:
        for task in here.open:
            task.cancel()
        await asyncio.gather(*here.open, return_exceptions=True)
        server.close()


async def test_titles_statuses_and_outcomes(ada: Account) -> None:
    async with site() as here:
        paths = ["a", "moved", "missing", "text", "untitled", "zipped", "cut", "loop", "to-file"]
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
        ("ok", 200, None),
        ("ok", 200, None),
        ("unreachable", None, None),
        ("too_many_redirects", None, None),
        ("refused", None, None),
    ]
    assert all(link["elapsed_ms"] > 0 for link in found)


async def test_no_links_no_pages(ada: Account) -> None:
    task = await ada.make_task()
    assert (await ada.get(f"/tasks/{task['id']}/links")).json() == []


async def test_pages_are_fetched_side_by_side(ada: Account) -> None:
    async with site() as here:  # each page is answered only once all three were asked for
        task = await ada.make_task(links=[f"{here.base}/together{n}" for n in range(3)])
        found = (await ada.get(f"/tasks/{task['id']}/links")).json()
    assert [link["outcome"] for link in found] == ["ok"] * 3


async def test_a_page_that_hangs_times_out_alone(ada: Account) -> None:
    async with site() as here:
        task = await ada.make_task(links=[f"{here.base}/hang", f"{here.base}/a"])
        found = (await ada.get(f"/tasks/{task['id']}/links")).json()
    assert [link["outcome"] for link in found] == ["timeout", "ok"]


async def test_an_endless_page_is_read_to_its_limit(ada: Account) -> None:
    async with site() as here:
        task = await ada.make_task(links=[f"{here.base}/endless"])
        found = (await ada.get(f"/tasks/{task['id']}/links")).json()
    assert (found[0]["outcome"], found[0]["title"]) == ("ok", "Endless")


async def test_one_users_cookies_are_not_sent_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    async with site() as here, fetch.client(allow_private=True, timeout=1) as client:
        monkeypatch.setattr(Site, "answer", lambda *_: page("", extra="set-cookie: session=first; path=/\r\n"))
        for _ in range(2):
            assert [link.outcome for link in await preview([f"{here.base}/a"], client, 1)] == [Outcome.ok]
        assert len(here.heads) == 2
        assert not [head for head in here.heads if b"cookie" in head.lower()]


async def test_the_body_of_a_redirect_is_not_read(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    aread = httpx.Response.aread

    async def noticed(response: httpx.Response) -> bytes:
        read.append(str(response.url))
        return await aread(response)

    async with site() as here, fetch.client(allow_private=True, timeout=1) as client:
        monkeypatch.setattr(httpx.Response, "aread", noticed)
        (link,) = await preview([f"{here.base}/moved"], client, 1)
    assert (link.outcome, link.title) == (Outcome.ok, "Page final & more")
    assert read == []


async def test_connections_are_pooled() -> None:
    async with site() as here, fetch.client(allow_private=True, timeout=1) as client:
        for _ in range(3):
            assert [link.outcome for link in await preview([f"{here.base}/a"], client, 1)] == [Outcome.ok]
        assert here.connections == 1


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1", "169.254.169.254", "0.0.0.0", "2130706433"]
)
async def test_private_addresses_are_refused(host: str) -> None:
    async with site() as here, fetch.client(allow_private=False, timeout=1) as client:
        port = here.base.rpartition(":")[2]
        (link,) = await preview([f"http://{host}:{port}/a"], client, 1)
        assert (link.outcome, link.status) == (Outcome.refused, None)
        assert here.connections == 0


async def test_a_redirect_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with site() as here, fetch.client(allow_private=False, timeout=1) as client:
        checked: list[str] = []

        def public_once(address: str) -> bool:
            checked.append(address)
            return len(checked) == 1

        monkeypatch.setattr(fetch, "is_public", public_once)
        target = here.base.replace("127.0.0.1", "localhost")
        monkeypatch.setattr(Site, "answer", lambda *_: page("", "302 Found", extra=f"location: {target}/inside\r\n"))
        (link,) = await preview([f"{here.base}/start"], client, 1)
        assert link.outcome is Outcome.refused
        assert here.connections == 1


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
