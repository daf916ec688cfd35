"""Previews the links of a task: fetches all pages concurrently and reports the status, title and time of each."""

import asyncio
import codecs
import html
import logging
import re
import time
from enum import StrEnum

import httpx
from pydantic import ConfigDict, Field

from taskapi.core.fields import ReadModel
from taskapi.tasks.links import fetch
from taskapi.web.outbound import is_refused

log = logging.getLogger(__name__)

MAX_TITLE_LENGTH = 300
TITLE_WITHIN = 64 * 1024  # bytes at the start of a page
META_WITHIN = 4096
_OPENING = re.compile(r"<title[\s>]", re.IGNORECASE)
_CLOSING = re.compile(r"</title", re.IGNORECASE)
_CHARSETS = re.compile(r"utf-8|utf-16|ascii|(iso8859|koi8|cp|mac|gb|big5|euc|shift)[-_a-z0-9]*")
_META_CHARSET = re.compile(rb"<meta[^>]+charset=[\"']?\s*([A-Za-z0-9_:-]+)", re.IGNORECASE)
_BLANK = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff\s]+")


class Outcome(StrEnum):
    """The outcome of fetching one page."""

    ok = "ok"
    timeout = "timeout"
    refused = "refused"
    unreachable = "unreachable"
    too_many_redirects = "too_many_redirects"


class LinkRead(ReadModel):
    """A page that a task links to."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"url": "https://example.com/", "outcome": "ok", "status": 200, "title": "Example Domain", "elapsed_ms": 48.2}
            ]
        }
    )

    url: str
    outcome: Outcome = Field(
        description="`refused`: not an http(s) page on a public address. `timeout`: no answer in time, or too many of your "
        "pages are being fetched."
    )
    status: int | None = Field(None, description="The page's HTTP status, if it answered.")
    title: str | None = Field(None, description="The text of its `<title>`, if it is HTML and has one.")
    elapsed_ms: float = Field(description="Milliseconds until the outcome was known.")


def title_of(body: bytes, charset: str | None) -> str | None:
    """The text of the first ``<title>``, with white space collapsed, at most 300 characters; None if there is none."""
    start = body[:TITLE_WITHIN]
    declared = _META_CHARSET.search(start[:META_WITHIN])
    text = start.decode(_supported_codec(charset) or _supported_codec(declared and declared[1].decode()) or "utf-8", "replace")
    opening = _OPENING.search(text)
    if opening is None:
        return None
    begin = text.find(">", opening.end() - 1) + 1
    if begin == 0:
        return None
    closing = _CLOSING.search(text, begin)
    inside = html.unescape(text[begin : closing.start() if closing else begin + 10 * MAX_TITLE_LENGTH])
    return _BLANK.sub(" ", inside).strip()[:MAX_TITLE_LENGTH] or None


def _supported_codec(charset: str | None) -> str | None:
    """The codec of a charset that web pages use; None for others, some of which are slow on hostile bytes."""
    try:
        name = codecs.lookup(charset or "").name
    except LookupError:
        return None
    return name if _CHARSETS.fullmatch(name) else None


async def preview(urls: list[str], fetcher: fetch.PageFetcher, account: str) -> list[LinkRead]:
    """The previews of ``urls``, in their order, for ``account``. Takes as long as the slowest page."""
    return list(await asyncio.gather(*(_preview_one(url, fetcher, account) for url in urls)))


async def _preview_one(url: str, fetcher: fetch.PageFetcher, account: str) -> LinkRead:
    started = time.perf_counter()
    status: int | None = None
    title: str | None = None
    try:
        async with fetcher.open(url, account) as response:
            status = response.status_code
            plain = response.headers.get("content-encoding", "identity").lower() == "identity"
            if plain and "html" in response.headers.get("content-type", "html").lower():
                body = await fetch.read_start(response)
                title = title_of(body, response.charset_encoding)
        outcome = Outcome.ok
    except (TimeoutError, httpx.TimeoutException):
        outcome = Outcome.timeout
    except httpx.TooManyRedirects:
        outcome = Outcome.too_many_redirects
    except (httpx.UnsupportedProtocol, httpx.InvalidURL):
        outcome = Outcome.refused
    except (httpx.HTTPError, ValueError) as error:
        outcome = Outcome.refused if is_refused(error) else Outcome.unreachable
    except Exception as error:  # one page never fails the call
        log.warning("a page behind a link failed in a new way: %s", type(error).__name__)
        outcome = Outcome.unreachable
    elapsed = round((time.perf_counter() - started) * 1000, 1)
    return LinkRead(url=url, outcome=outcome, status=status, title=title, elapsed_ms=elapsed)
