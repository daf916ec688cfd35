"""What stands behind a task's links: title, status and time of each page, fetched side by side."""

import asyncio
import re
import time
from enum import StrEnum
from html.parser import HTMLParser

import httpx
from pydantic import BaseModel, ConfigDict, Field

from taskapi import fetch

LONGEST_TITLE = 300
_META_CHARSET = re.compile(rb"<meta[^>]+charset=[\"']?\s*([A-Za-z0-9_:-]+)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff\s]+")


class Outcome(StrEnum):
    """How the fetch of one page ended."""

    ok = "ok"
    timeout = "timeout"
    refused = "refused"
    unreachable = "unreachable"
    too_many_redirects = "too_many_redirects"


class LinkRead(BaseModel):
    """One page behind a task."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"url": "https://example.com/", "outcome": "ok", "status": 200, "title": "Example Domain", "elapsed_ms": 48.2}
            ]
        }
    )

    url: str
    outcome: Outcome = Field(description="`refused`: not an http(s) page on a public address.")
    status: int | None = Field(None, description="The page's HTTP status, when it answered.")
    title: str | None = Field(None, description="The text of its `<title>`, when it is HTML and has one.")
    elapsed_ms: float = Field(description="Milliseconds until the outcome was known.")


class _TitleParser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.inside = self.finished = False

    def handle_starttag(self, tag: str, _: object) -> None:
        self.inside = self.inside or (tag == "title" and not self.finished)

    def handle_endtag(self, tag: str) -> None:
        if tag == "title" and self.inside:
            self.inside, self.finished = False, True

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.parts.append(data)


def title_of(body: bytes, charset: str | None) -> str | None:
    """The text of the first ``<title>``, white space folded, at most 300 characters; None without one."""
    declared = _META_CHARSET.search(body[:4096])
    encoding = charset or (declared and declared[1].decode()) or "utf-8"
    try:
        text = body.decode(encoding, "replace")
    except LookupError:
        text = body.decode("utf-8", "replace")
    parser = _TitleParser()
    for start in range(0, len(text), 8192):
        parser.feed(text[start : start + 8192])
        if parser.finished:
            break
    return _CONTROL.sub(" ", "".join(parser.parts)).strip()[:LONGEST_TITLE] or None


async def preview(urls: list[str], client: httpx.AsyncClient, timeout: float) -> list[LinkRead]:
    """What is behind each of ``urls``, in their order. Takes as long as the slowest, at most ``timeout`` seconds."""
    return list(await asyncio.gather(*(_preview_one(url, client, timeout) for url in urls)))


async def _preview_one(url: str, client: httpx.AsyncClient, timeout: float) -> LinkRead:
    started = time.perf_counter()
    status: int | None = None
    title: str | None = None
    try:
        async with asyncio.timeout(timeout), client.stream("GET", url) as response:
            status = response.status_code
            plain = response.headers.get("content-encoding", "identity") == "identity"
            if plain and "html" in response.headers.get("content-type", "html"):
                body = await fetch.read_start(response)
                title = await asyncio.to_thread(title_of, body, response.charset_encoding)
        outcome = Outcome.ok
    except (TimeoutError, httpx.TimeoutException):
        outcome = Outcome.timeout
    except httpx.TooManyRedirects:
        outcome = Outcome.too_many_redirects
    except (httpx.UnsupportedProtocol, httpx.InvalidURL):
        outcome = Outcome.refused
    except (httpx.HTTPError, ValueError) as error:
        refused = isinstance(error.__cause__, fetch.AddressRefused)
        outcome = Outcome.refused if refused else Outcome.unreachable
    elapsed = round((time.perf_counter() - started) * 1000, 1)
    return LinkRead(url=url, outcome=outcome, status=status, title=title, elapsed_ms=elapsed)
