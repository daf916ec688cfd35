"""Sends one request to a receiver: to a public address, following no redirect, within ten seconds."""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple, Self

import httpx

from taskapi.core.resolver import Resolver
from taskapi.core.unicode import has_controls
from taskapi.web import outbound
from taskapi.webhooks.documents import MAX_ANSWER_CHARACTERS, DeliveryError

USER_AGENT: Final = "taskapi-webhooks/1"
TIMEOUT_SECONDS: Final = 10.0
MAX_ANSWER_BYTES: Final = 1024
MAX_CONNECTIONS: Final = 200
GONE: Final = 410


class Answer(NamedTuple):
    """What came of an attempt: an HTTP status with the first KiB of the answer, or an error."""

    duration_ms: int
    code: int | None = None
    text: str | None = None
    error: DeliveryError | None = None
    retry_after: timedelta | None = None  # that the receiver asked for

    @property
    def is_success(self) -> bool:
        """Whether the receiver has taken the event."""
        return self.code is not None and 200 <= self.code < 300

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants nothing more."""
        return self.code == GONE


class WebhookSender:
    """Sends requests with one pool of connections."""

    def __init__(self, resolver: Resolver, *, allow_private: bool, timeout: float = TIMEOUT_SECONDS) -> None:
        self.allow_private = allow_private
        self._timeout = timeout
        self._client = outbound.client(
            resolver,
            allow_private=allow_private,
            timeout=timeout,
            max_connections=MAX_CONNECTIONS,
            headers={"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"},
        )

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._client.__aexit__(*error)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Sends ``body`` to ``url``. Never raises for what a receiver does."""
        started = time.monotonic()
        code, text, retry_after = None, None, None
        error: DeliveryError | None = None
        try:
            async with asyncio.timeout(self._timeout):
                request = self._client.build_request("POST", url, content=body, headers=headers)
                response = await self._client.send(request, stream=True, follow_redirects=False)
                code, retry_after = response.status_code, _retry_after(response.headers.get("retry-after"))
                try:
                    text = await _read_start(response)
                finally:
                    await response.aclose()
        except (TimeoutError, httpx.TimeoutException):
            error = "timeout" if code is None else None
        except (httpx.UnsupportedProtocol, httpx.InvalidURL):
            error = "refused"
        except (httpx.HTTPError, ValueError) as failure:
            error = "refused" if outbound.is_refused(failure) else "unreachable" if code is None else None
        return Answer(round((time.monotonic() - started) * 1000), code, text, error, retry_after)


async def _read_start(response: httpx.Response) -> str:
    """The start of the body as text that MongoDB and JSON can hold."""
    response.extensions["network_stream"].expect_body()
    start = b""
    async for piece in response.aiter_raw():
        start += piece[: MAX_ANSWER_BYTES - len(start)]
        if len(start) >= MAX_ANSWER_BYTES:
            break
    text = start.decode(errors="replace")[:MAX_ANSWER_CHARACTERS]
    return "".join(character if not has_controls(character) else "\ufffd" for character in text)


def _retry_after(value: str | None) -> timedelta | None:
    """The pause that ``Retry-After`` asks for, in seconds or as a date (RFC 9110, section 10.2.3)."""
    if value is None:
        return None
    try:
        if value.isdecimal() and value.isascii():
            return timedelta(seconds=min(int(value[:10]), 10**9))
        return max(parsedate_to_datetime(value).replace(tzinfo=UTC) - datetime.now(UTC), timedelta(0))
    except (ValueError, OverflowError):
        return None
